"""The dashboard's routes: each reads what a page shows, and has `service.web` render it."""

from fastapi import FastAPI

from service.api.pages import compare, draw, experiment, experiments, models, static, submit, sweeps, workers


def install(app: FastAPI) -> None:
    """Serve the dashboard."""
    for page in (experiments, experiment, compare, sweeps, submit, draw, models, workers):
        app.include_router(page.router)
    static.install(app)
