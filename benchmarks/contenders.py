"""The servers that `serving.py` compares, and what each is asked: the same model, as many threads for it in each."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import servers
import workloads
from numpy.typing import NDArray
from servers import Server
from workloads import Workload

NUMERAL, ONE_PROCESS, LITSERVE, PLAIN = "numeral", "numeral, one process", "LitServe", "FastAPI + onnxruntime"

JSON, INT8 = "JSON", "JSON, int8"
PNG, PREPROCESSED, DRAWING = "PNG, as it is", "PNG, preprocessed", "280×280 PNG, preprocessed"
OCTETS = "1,000 images, octets"
BATCHES = (16, 32)
"""That a peer without batching of its own is given images in."""

CONNECTIONS = (1, 16, 64)
INT8_ALIAS = "benchmark-int8"
PEERS = Path(__file__).resolve().parent / "peers"


class Material(NamedTuple):
    """What all of them are given.

    Attributes:
        images: test images of MNIST, one for a single one's sake and all for a large request.
        digits: what the model says about them, according to onnxruntime.
        int8: whether the data directory's model has an int8 variant, with an alias.
    """

    data_dir: Path
    onnx: Path
    images: NDArray[np.uint8]
    digits: tuple[int, ...]
    int8: bool


class Contender(NamedTuple):
    """A server, and what it is asked over how many connections."""

    name: str
    start: Callable[[], Server]
    cells: list[tuple[Workload, int]]


def octets_in(batch: int) -> str:
    """The large request's name where it is run in batches of this size."""
    return f"{OCTETS}, batches of {batch}"


def contenders(material: Material, processes: int, litserve_python: str | None) -> Iterator[Contender]:
    """All of them, in the order in which they are measured. Without an interpreter for LitServe, without that."""
    yield _numeral(material, processes)
    if litserve_python is not None:
        yield _litserve(material, processes, litserve_python)
    yield _plain(material, processes)
    yield _one_process(material, processes)


def has_litserve(python: str) -> bool:
    """Whether this interpreter can run LitServe."""
    return subprocess.run([python, "-c", "import litserve, onnxruntime"], capture_output=True).returncode == 0


def _single(material: Material, path: str, name: str = JSON, exact: bool = True) -> list[tuple[Workload, int]]:
    digit = material.digits[0] if exact else None
    return [(workloads.as_json(path, material.images[0], digit, name), connections) for connections in CONNECTIONS]


def _numeral(material: Material, processes: int) -> Contender:
    image, digit = material.images[0], material.digits[0]
    path = "/v1/predict"
    as_it_is = workloads.as_png(f"{path}?preprocess=none", image, digit, PNG)
    preprocessed = workloads.as_png(f"{path}?preprocess=mnist", image, None, PREPROCESSED)
    drawing = workloads.as_drawing(path, image, DRAWING)
    cells = _single(material, path)
    cells += [(workload, connections) for workload in (as_it_is, preprocessed, drawing) for connections in CONNECTIONS]
    cells.append((workloads.as_octets(path, material.images, material.digits, OCTETS), 1))
    if material.int8:
        # Eight bits may see another digit now and then.
        cells += _single(material, f"/v1/models/{INT8_ALIAS}/predict", INT8, exact=False)
    settings = {"api_processes": processes, "inference_threads": 1}
    return Contender(NUMERAL, lambda: servers.numeral(material.data_dir, **settings), cells)


def _one_process(material: Material, threads: int) -> Contender:
    path = "/v1/predict"
    octets = workloads.as_octets(path, material.images, material.digits, OCTETS)
    cells = [*_single(material, path), (octets, 1), (octets, 2)]
    settings = {"api_processes": 1, "inference_threads": threads}
    return Contender(ONE_PROCESS, lambda: servers.numeral(material.data_dir, **settings), cells)


def _litserve(material: Material, processes: int, python: str) -> Contender:
    def start() -> Server:
        port = servers.free_port()
        command = [python, str(PEERS / "lit.py"), str(material.onnx), "--port", str(port), "--workers", str(processes)]
        return Server(command, port, {}, material.data_dir / "litserve.log")

    return Contender(LITSERVE, start, _single(material, "/predict"))


def _plain(material: Material, processes: int) -> Contender:
    def start() -> Server:
        port = servers.free_port()
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(PEERS), "plain:app", "--port", str(port)]
        command += ["--workers", str(processes), "--log-level", "warning", "--no-access-log"]
        return Server(command, port, {"MODEL": str(material.onnx)}, material.data_dir / "plain.log")

    cells = _single(material, "/predict")
    for batch in BATCHES:
        octets = workloads.as_octets(f"/octets?batch={batch}", material.images, material.digits, octets_in(batch))
        cells += [(octets, 1), (octets, 2)]
    return Contender(PLAIN, start, cells)
