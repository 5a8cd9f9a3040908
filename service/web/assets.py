"""The files that pages load: our own, Plotly's and Swagger's, all from this machine."""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

STATIC = Path(__file__).parent / "static"

PLOTLY = f"/static/plotly-{version('plotly')}.min.js"
"""Where pages find Plotly.js. Its version is in the path: browsers may keep it for ever."""

SWAGGER = "/static/swagger"


def plotly_file() -> Path:
    """Plotly.js out of the `plotly` package."""
    # Found, not imported: that would take as long as the rest of the start.
    return _package("plotly") / "package_data" / "plotly.min.js"


def swagger_folder() -> Path:
    """Swagger UI out of the `fastapi-offline` package: FastAPI's own page loads it from elsewhere."""
    return _package("fastapi_offline") / "static"


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
