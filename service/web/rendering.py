"""Templates become answers, under a content security policy that lets no script run but our own files."""

import json
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import jinja2
from starlette.responses import HTMLResponse

from service import __version__
from service.web import formats
from service.web.assets import PLOTLY

SECTIONS = {
    "experiments": ("/", "Experiments"),
    "sweeps": ("/sweeps", "Sweeps"),
    "submit": ("/submit", "Submit"),
    "draw": ("/draw", "Draw"),
    "models": ("/models", "Models"),
    "workers": ("/workers", "Workers"),
}
"""The parts of the dashboard: path and title."""

POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; style-src 'self'"
)


def render(template: str, *, charts: bool = False, status: HTTPStatus = HTTPStatus.OK, **context: Any) -> HTMLResponse:
    """A page.

    Args:
        template: its file.
        charts: whether it needs Plotly.
        context: what the template shows.
    """
    content = _environment().get_template(template).render(context, charts=charts)
    # Plotly sets the style of what it draws through style elements and attributes.
    policy = f"{POLICY} 'unsafe-inline'" if charts else POLICY
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    return HTMLResponse(content, status, headers=headers)


@lru_cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("service.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"sections": SECTIONS, "version": __version__, "plotly": PLOTLY}
    # Fields stay in the order that they have in a spec.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.filters |= {
        "accuracy": formats.accuracy,
        "duration": formats.duration,
        "figure": formats.figure,
        "count": formats.count,
        "size": formats.size,
        "value": formats.value,
        "pretty": lambda document: json.dumps(document, indent=2, ensure_ascii=False),
    }
    return environment
