"""Commands that run the service, or parts of it."""

import gc
import json
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import DataDir, Host, Json, Port, missing_for_training, url
from service.errors import ConfigurationError, NumeralError
from service.settings import Settings, load_settings

if TYPE_CHECKING:
    from service.api.server import Server

logger = logging.getLogger(__name__)

BACKLOG = 2048

db = typer.Typer(help="The database: its schema, and what nobody needs any more.", no_args_is_help=True)


def up(host: Host = None, port: Port = None, data_dir: DataDir = None) -> None:
    """Run everything here: schema, API and a worker, on SQLite in the data directory by default."""
    settings = load_settings(host=host, port=port, data_dir=data_dir)
    _need_training()
    _log()
    with _shared_metrics(settings):
        with _without_collecting():
            _upgrade(settings)
            listener = listen(settings.host, settings.port, shared=settings.api_processes > 1)
            server = _server(settings)
        # The worker only now: the start of its first child would compete with the API's own.
        with listener, _worker_beside(settings, server):
            _serve(server, settings, listener)


def api(host: Host = None, port: Port = None, data_dir: DataDir = None) -> None:
    """Run the API alone; workers are started elsewhere."""
    settings = load_settings(host=host, port=port, data_dir=data_dir)
    _log()
    _check_schema(settings)
    shared = settings.api_processes > 1
    with _shared_metrics(settings), listen(settings.host, settings.port, shared) as listener:
        _serve(_server(settings), settings, listener)


def worker(host: Host = None, port: Port = None, data_dir: DataDir = None) -> None:
    """Run a worker: it takes experiments from the database's queue and trains them."""
    from service.store.database import open_engine
    from service.worker.supervisor import Supervisor

    settings = load_settings(host=host, port=port, data_dir=data_dir)
    _need_training()
    _log()
    _check_schema(settings)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, frame: stop.set())
    Supervisor(open_engine(settings.resolved_database_url), settings).run(stop)


@db.command("upgrade")
def db_upgrade(data_dir: DataDir = None) -> None:
    """Bring the database's schema to this version."""
    settings = load_settings(data_dir=data_dir)
    typer.echo(f"The schema is at {_upgrade(settings)}.")


@db.command("gc")
def db_gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, but remove nothing.")] = False,
    json_: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Remove what nobody needs any more: rows and files of no experiment, checkpoints of ended ones, expired
    idempotency keys, workers that were not heard of for a day."""
    from service.store import gc as garbage
    from service.store.database import open_engine, reading, writing

    settings = load_settings(data_dir=data_dir)
    _check_schema(settings)
    database = open_engine(settings.resolved_database_url)
    with _database_errors(settings):
        if dry_run:
            with reading(database) as session:
                counted = garbage.count(session)
        else:
            with writing(database) as session:
                counted = garbage.remove(session)
    if json_:
        typer.echo(json.dumps(counted, indent=2))
    else:
        typer.echo("To be removed:" if dry_run else "Removed:")
        for kind, number in counted.items():
            typer.echo(f"{number:>8,}  {kind.replace('_', ' ')}")


def listen(host: str, port: int, shared: bool = False) -> socket.socket:
    """A socket that listens already, so that a taken port is found out before anything else is started.

    Args:
        shared: other processes may listen on the same port; the kernel gives each its part of the connections.

    Raises:
        ConfigurationError: it cannot listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if shared and port:
            # What may be shared would also be shared with a stranger.
            socket.create_server((host, port), family=family).close()
        return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(
            f"Port {port} on {host} cannot be listened on ({reason}): choose another with --port or NUMERAL_PORT."
        ) from None


@contextmanager
def _shared_metrics(settings: Settings) -> Iterator[None]:
    """A folder where the API's processes add up their metrics, if there are several."""
    if settings.api_processes == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="numeral-metrics-") as folder:
        # prometheus_client looks for it when it is imported, here and in the other processes.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Nearly all that imports make stays: not looking for garbage in it saves some 7 % of the time until ready."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _server(settings: Settings) -> "Server":
    from service.api.server import Server

    return Server(settings)


def _serve(server: "Server", settings: Settings, listener: socket.socket) -> None:
    from service.api.server import siblings

    # After a graceful end uvicorn raises the signal that ended it once more; what is left to do here must still be
    # done.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, frame: None)
    with siblings(settings, listener):
        typer.echo(f"Numeral is at {url(*listener.getsockname()[:2])} (its API: /docs). Ctrl-C ends it.")
        server.run(sockets=[listener])


@contextmanager
def _worker_beside(settings: Settings, server: "Server") -> Iterator[None]:
    """A supervisor in a thread of this process; its trainings are processes of their own."""
    from service.store.database import open_engine
    from service.worker.supervisor import Supervisor

    stop, failed = threading.Event(), threading.Event()
    supervisor = Supervisor(open_engine(settings.resolved_database_url), settings)

    def work() -> None:
        try:
            supervisor.run(stop)
        except Exception as error:
            # A service that answers but never trains would be worse than one that ends.
            expected = isinstance(error, NumeralError)
            logger.error("the worker failed, the service ends: %s", error, exc_info=not expected)
            failed.set()
            server.should_exit = True

    thread = threading.Thread(target=work, name="supervisor")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failed.is_set():
        raise typer.Exit(1)


def _upgrade(settings: Settings) -> str:
    from service.store.database import migrate, open_engine

    with _database_errors(settings):
        return migrate(open_engine(settings.resolved_database_url))


def _check_schema(settings: Settings) -> None:
    from service.store.database import check_schema, open_engine

    with _database_errors(settings):
        check_schema(open_engine(settings.resolved_database_url))


@contextmanager
def _database_errors(settings: Settings) -> Iterator[None]:
    from sqlalchemy import make_url
    from sqlalchemy.exc import DatabaseError

    try:
        yield
    except DatabaseError as error:
        url = make_url(settings.resolved_database_url).render_as_string(hide_password=True)
        reason = str(error.orig).strip().partition("\n")[0]
        raise ConfigurationError(f"The database {url} cannot be used: {reason}") from None


def _need_training() -> None:
    if missing := missing_for_training():
        raise ConfigurationError(
            f"Training needs {', '.join(missing)}: install `numeral[train]` (or `numeral[gpu]`), "
            "or run `numeral api` to serve without training."
        )


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
