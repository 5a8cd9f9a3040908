"""A training's state as bytes, and the check that it belongs to the training that wants to go on from it.

The bytes are an npz archive without pickle. Its entry `metadata` is a JSON document as uint8; the arrays are called
`model_0`, `model_1`, …, `optimizer_0`, … after their group and their place in it.
"""

import json
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from service.schemas import EpochMetrics, Schema
from service.specs.experiment import ExperimentSpec
from service.specs.fingerprint import code_version, decisive, digest

FORMAT = 1
"""To be raised when the bytes have another layout."""

LIMIT = 256 * 1024**2
"""Most bytes of a checkpoint: while it is written to the database its worker renews no lease."""

GROUPS = ("model", "optimizer", "metrics", "best")

Arrays = list[NDArray[Any]]


class Unusable(Exception):
    """A checkpoint is none, or is none of this training; the message says why, as the end of a sentence."""


@dataclass(frozen=True)
class Origin:
    """What a training must have in common with the one that a checkpoint was made by."""

    spec: str
    """SHA-256 of all that decides the outcome: not of its name or its place in the queue."""
    dataset: str
    """SHA-256 of the whole dataset."""
    backend: str
    keras: str
    """Keras's version."""
    code: str
    """The service's version, by the content of the files that decide an outcome."""
    format: int = FORMAT


class Position(Schema):
    """Where a training stands between two steps."""

    history: list[EpochMetrics] = Field(description="the finished epochs")
    step: int = Field(ge=0, description="finished steps of the epoch after them, 0 at an epoch's end")
    seconds: float = Field(ge=0, description="how long those steps took")
    best: float | None = Field(description="early stopping's best value so far, larger is better")
    waited: int = Field(ge=0, description="early stopping's epochs since then")


@dataclass(frozen=True)
class Snapshot:
    """A training between two steps: all that decides how it goes on.

    `arrays` has, for each of `GROUPS`, the values of its variables in Keras's order, with their shapes and dtypes:

    - `model`: weights, moving statistics and the states of random generators.
    - `optimizer`: its slots, iterations and learning rate.
    - `metrics`: sums and counts of the epoch that is going on.
    - `best`: the best epoch's weights; empty unless early stopping is to restore them.
    """

    position: Position
    arrays: dict[str, Arrays]


def origin_of(spec: ExperimentSpec, dataset_sha256: str) -> Origin:
    """The origin of checkpoints that a training of this spec makes in this process."""
    return Origin(
        spec=digest(decisive(spec)),
        dataset=dataset_sha256,
        backend=keras.backend.backend(),
        keras=keras.version(),
        code=code_version(),
    )


def pack(snapshot: Snapshot, origin: Origin) -> bytes:
    """A snapshot as bytes."""
    metadata = {"origin": asdict(origin), "position": snapshot.position.model_dump()}
    entries = {"metadata": np.frombuffer(json.dumps(metadata).encode(), np.uint8)}
    for group in GROUPS:
        entries |= {f"{group}_{index}": array for index, array in enumerate(snapshot.arrays[group])}
    file = BytesIO()
    np.savez(file, allow_pickle=False, **entries)
    return file.getvalue()


def unpack(content: bytes, origin: Origin) -> Snapshot:
    """The snapshot that `pack` made into these bytes.

    Raises:
        Unusable: the bytes cannot be read, or are another origin's.
    """
    try:
        return _unpack(content, origin)
    except Unusable:
        raise
    except Exception as error:  # NumPy, zipfile and JSON raise all sorts of things for bytes that are no checkpoint
        raise Unusable(f"it cannot be read ({type(error).__name__})") from error


def _unpack(content: bytes, origin: Origin) -> Snapshot:
    with np.load(BytesIO(content), allow_pickle=False) as archive:
        metadata = json.loads(archive["metadata"].tobytes())
        for name, wanted in asdict(origin).items():
            if metadata["origin"].get(name) != wanted:
                raise Unusable(f"its {name} is another one")
        position = Position.model_validate(metadata["position"])
        return Snapshot(position, {group: _group(archive, group) for group in GROUPS})


def _group(archive: Any, group: str) -> Arrays:
    count = sum(name.startswith(f"{group}_") for name in archive.files)
    return [archive[f"{group}_{index}"] for index in range(count)]
