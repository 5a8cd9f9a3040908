"""Options that several commands share, and what they stand for."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.settings import load_settings

if TYPE_CHECKING:
    from service.client import Client

TRAINING_PACKAGES = ("keras", "tensorflow", "onnx", "sklearn", "pooch")

Server = Annotated[str | None, typer.Option(help="The service's address [env: NUMERAL_SERVER].", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on [env: NUMERAL_HOST].", show_default=False)]
Port = Annotated[int | None, typer.Option(help="Port to listen on [env: NUMERAL_PORT].", show_default=False)]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the database [env: NUMERAL_DATA_DIR].", show_default=False)
]


def missing_for_training() -> list[str]:
    """The packages of the extra `train` that are not installed here."""
    return [name for name in TRAINING_PACKAGES if importlib.util.find_spec(name) is None]


def url(host: str, port: int) -> str:
    """The address of a server on this host and port."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def connect(server: str | None) -> "Client":
    """A client of the service that the option or the settings name."""
    from service.client import Client

    settings = load_settings(server=server)
    return Client(settings.server, settings.api_key)
