"""`numeral doctor`: what on this machine would keep the service from working."""

import json
import os
import platform
import shutil
import sqlite3
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple

import typer

from service.cli.options import DataDir, Json, missing_for_training
from service.errors import ConfigurationError, DatasetUnavailable, SchemaOutdated
from service.settings import Settings, load_settings

Verdict = Literal["ok", "warning", "failed"]
COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}
# A checkpoint that resets the log while another connection writes may corrupt the file: https://sqlite.org/wal.html
WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))


class Finding(NamedTuple):
    """One thing that was looked at."""

    check: str
    verdict: Verdict
    detail: str


def doctor(data_dir: DataDir = None, json_: Json = False) -> None:
    """Look at this machine and say what is missing; exit status 1 if the service could not work."""
    from rich.table import Table

    from service.cli.render import console, plain

    findings = list(_look(load_settings(data_dir=data_dir)))
    if json_:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        for check, verdict, detail in findings:
            table.add_row(check, f"[{COLOURS[verdict]}]{verdict}[/]", plain(detail))
        console.print(table)
    if any(finding.verdict == "failed" for finding in findings):
        raise typer.Exit(1)


def _look(settings: Settings) -> Iterator[Finding]:
    yield Finding("numeral", "ok", f"{version('numeral')} on Python {platform.python_version()}")
    yield _sqlite()
    yield _database(settings)
    yield _disk(settings)
    yield _training(settings)
    yield _mnist(settings)


def _sqlite() -> Finding:
    first, last = WAL_RESET_BUG
    if first <= sqlite3.sqlite_version_info <= last:
        detail = f"{sqlite3.sqlite_version} has the WAL-reset bug (fixed in 3.51.3): prefer Postgres for many workers"
        return Finding("sqlite", "warning", detail)
    return Finding("sqlite", "ok", sqlite3.sqlite_version)


def _database(settings: Settings) -> Finding:
    from sqlalchemy import make_url
    from sqlalchemy.exc import SQLAlchemyError

    from service.store.database import check_schema, open_engine

    try:
        url = make_url(settings.resolved_database_url)
        shown = url.render_as_string(hide_password=True)
        engine = open_engine(settings.resolved_database_url)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
            # Looking at it would make it.
            return Finding("database", "ok", f"{shown} does not exist yet; `numeral up` makes it")
        check_schema(engine)
    except SchemaOutdated as error:
        return Finding("database", "warning", str(error))
    except ConfigurationError as error:
        return Finding("database", "failed", str(error))
    except SQLAlchemyError as error:
        return Finding("database", "failed", str(error).partition("\n")[0])
    return Finding("database", "ok", shown)


def _disk(settings: Settings) -> Finding:
    folder = settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Finding("data directory", "failed", f"{settings.data_dir} cannot be written")
    free = shutil.disk_usage(folder).free / 2**30
    # A baseline experiment stores about 40 MB of artifacts.
    return Finding("data directory", "ok" if free > 1 else "warning", f"{settings.data_dir}, {free:.1f} GiB free")


def _training(settings: Settings) -> Finding:
    if missing := missing_for_training():
        detail = f"{', '.join(missing)} missing: install `numeral[train]`; `numeral api` works without"
        return Finding("training", "warning", detail)
    return Finding("training", "ok", f"Keras {version('keras')} on {settings.keras_backend}")


def _mnist(settings: Settings) -> Finding:
    from service.data import mnist

    path = mnist.find(settings.datasets_dir, settings.cache_dir)
    if path is None:
        detail = (
            f"not on this machine; it is downloaded when it is needed, or put {mnist.FILE} into NUMERAL_DATASETS_DIR"
        )
        return Finding("mnist", "warning", detail)
    try:
        mnist.read(path)
    except DatasetUnavailable as error:
        return Finding("mnist", "failed", str(error))
    return Finding("mnist", "ok", str(path))
