"""`numeral demo`: the whole way once, from a submitted experiment to a digit read over HTTP."""

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from service.cli.options import DataDir, Host, Port, url
from service.cli.serving import listen
from service.errors import ConfigurationError, DatasetUnavailable, ServiceError
from service.settings import Settings, load_settings
from service.states import State

if TYPE_CHECKING:
    from service.client import Client
    from service.data.dataset import Dataset

PRESET = "fast"
START_SECONDS = 60
STOP_SECONDS = 20


def demo(host: Host = None, port: Port = None, data_dir: DataDir = None) -> None:
    """Start the service, train a model, look at it and classify an image over HTTP."""
    from service.cli import render

    settings = load_settings(host=host, data_dir=data_dir)
    say = partial(render.console.print, soft_wrap=True)
    dataset = _dataset(settings)
    with _service(settings, port or _free_port(settings.host)) as client:
        experiment = client.submit(_spec(dataset))
        epochs = experiment.progress.epochs
        say(f"Submitted experiment {experiment.id}: `{PRESET}` on {dataset.name}, {epochs} epoch(s).")
        experiment = render.watch(client, experiment.id)
        say(render.summary(experiment))
        if experiment.state != State.SUCCEEDED:
            raise typer.Exit(1)
        say(render.confusion_matrix(client.evaluation(experiment.id)))

        image, label = dataset.test.images[0], int(dataset.test.labels[0])
        answer = client.predict_files([("digit.png", _png(image))], model=str(experiment.id)).predictions[0]
        say(f"\nThis test image was sent to the service as a PNG:\n{render.digit(image.tolist())}")
        say(f"It answered [bold]{answer.digit}[/] with confidence {answer.confidence:.1%}; the label is {label}.")
    kept = "the database that NUMERAL_DATABASE_URL names" if settings.database_url else settings.data_dir
    say(
        f"\nThe model and its record are kept in {kept}. Go on with:\n"
        "  numeral up                                      open http://127.0.0.1:8000 and draw a digit\n"
        "  numeral experiment submit --preset best         train in earnest, for an hour or so\n"
        "  numeral predict FILE.png                        classify a picture\n"
        "(in a checkout: `.venv/bin/numeral …` or `uv run numeral …`)"
    )


def _dataset(settings: Settings) -> "Dataset":
    """MNIST if it can be had; otherwise, and only after saying so, scikit-learn's digits."""
    from service.cli.render import console, plain
    from service.data import catalogue

    try:
        return catalogue.load("mnist", settings.datasets_dir, settings.cache_dir)
    except DatasetUnavailable as error:
        console.print(
            f"[yellow]{plain(str(error))}[/]\n"
            "[yellow]The demo goes on with `optdigits`, 1,797 small digits that come with scikit-learn. "
            "Its accuracy is not MNIST's.[/]"
        )
        return catalogue.load("optdigits", settings.datasets_dir, settings.cache_dir)


def _spec(dataset: "Dataset") -> dict[str, Any]:
    spec: dict[str, Any] = {"preset": PRESET, "name": "demo", "tags": ["demo"], "dataset": dataset.name}
    # An epoch of optdigits is 12 steps: it takes some more of them to learn anything.
    return spec if dataset.name == "mnist" else spec | {"epochs": 15}


@contextmanager
def _service(settings: Settings, port: int) -> Iterator["Client"]:
    """`numeral up` as a process of its own, with its log in the data directory; ended at the end."""
    from service.cli.render import console
    from service.client import Client

    log = settings.data_dir / "demo.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        output = log.open("wb")
    except OSError as error:
        raise ConfigurationError(f"{log} cannot be written: {error.strerror}") from None
    where = ["--host", settings.host, "--port", str(port), "--data-dir", str(settings.data_dir)]
    with output:
        process = subprocess.Popen([sys.executable, "-m", "service", "up", *where], stdout=output, stderr=output)
    server = url(settings.host, port)
    try:
        with Client(server) as client:
            _wait(client, process, log)
            console.print(f"The service is up at {server}, its log is {log}.")
            yield client
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(client: "Client", process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(START_SECONDS):
        try:
            client.wait_until_ready(1)
            return
        except ServiceError:
            if process.poll() is not None:
                break
    last = (log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
    raise ConfigurationError(f"The service did not start: {last} (see {log})")


def _free_port(host: str) -> int:
    with listen(host, 0) as probe:
        port: int = probe.getsockname()[1]
        return port


def _png(image: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
