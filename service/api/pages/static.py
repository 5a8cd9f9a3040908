"""The files that pages load, and the page that describes the API."""

import gzip
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles

from service.web import assets

router = APIRouter(include_in_schema=False)


def install(app: FastAPI) -> None:
    """Serve the files, and FastAPI's page on the API with a Swagger UI that comes from this machine."""
    app.include_router(router)
    app.mount(assets.SWAGGER, StaticFiles(directory=assets.swagger_folder()))
    app.mount("/static", _Revalidated(directory=assets.STATIC))


@router.get("/docs")
def docs(request: Request) -> Response:
    """The API, to be tried out."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Numeral: the API",
        swagger_js_url=f"{assets.SWAGGER}/swagger-ui-bundle.js",
        swagger_css_url=f"{assets.SWAGGER}/swagger-ui.css",
        swagger_favicon_url="/static/icon.svg",
    )


@router.get(assets.PLOTLY)
def plotly(request: Request) -> Response:
    """Plotly.js, compressed for whoever is not on this machine."""
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return Response(_compressed(), headers=headers | {"Content-Encoding": "gzip"}, media_type="text/javascript")
    return Response(assets.plotly_file().read_bytes(), headers=headers, media_type="text/javascript")


@lru_cache
def _compressed() -> bytes:
    return gzip.compress(assets.plotly_file().read_bytes(), compresslevel=6, mtime=0)


class _Revalidated(StaticFiles):
    """Files that browsers ask for again each time: a new version of the service brings new ones at the same paths."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Starlette's hook."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
