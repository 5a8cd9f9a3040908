"""The report as Markdown, and as an HTML page that needs nothing from elsewhere. Both say the same."""

import re
from pathlib import Path

import jinja2
from markupsafe import Markup

from service.errors import ConfigurationError
from service.notebook import story
from service.notebook.blocks import Chart
from service.notebook.charts import line_chart
from service.notebook.figures import Figures

FILES = {"notebook.md": "notebook.md.j2", "notebook.html": "notebook.html.j2"}


def write(figures: Figures, folder: Path) -> list[Path]:
    """Write both documents into a folder; returns their paths.

    Raises:
        ConfigurationError: they cannot be written.
    """
    environment = _environment()
    parts = {"title": story.TITLE, "opening": story.opening(figures), "sections": story.sections(figures)}
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, template in FILES.items():
            file = folder / name
            file.write_text(environment.get_template(template).render(parts).strip() + "\n", encoding="utf-8")
            written.append(file)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written into: {error.strerror}") from None
    return written


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("service.notebook"),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = _markdown
    environment.filters["svg"] = _svg
    environment.tests["figure"] = _is_figure
    return environment


def _markdown(text: str) -> str:
    """Text from anywhere, also in a table's cell."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;"))


def _svg(chart: Chart) -> Markup:
    # Its only text from outside is escaped there.
    return Markup(line_chart(chart.title, chart.lines))  # noqa: S704


def _is_figure(text: str) -> bool:
    """Whether a cell is a number, with its deviation or without: it is not broken over two lines."""
    return bool(re.fullmatch(r"[+-]?[\d.]+( ± [\d.]+)?", text))
