"""What a training tells the outside, in this order: Started, EpochEnd…, Evaluated, Finished; or Failed at any point.

A training that is asked to stop says Interrupted instead of all that would have followed. Progress and Checkpoints come
in between, from the first step to the last.

Free of Keras, so that a supervisor can read events without importing it.
"""

from dataclasses import dataclass, field

from service.schemas import EpochMetrics, Evaluation, Result


@dataclass(frozen=True)
class Started:
    """Data and model are ready; the training begins, or goes on.

    `dataset_sha256` is of the whole dataset, whatever part of it is trained on. `epoch` counts the epochs that are
    finished already because a checkpoint brought them along; no EpochEnd follows for them.
    """

    device: str
    parameters: int
    dataset_sha256: str
    epoch: int = 0


@dataclass(frozen=True)
class Progress:
    """Between epochs: the fraction of all training steps that are done. May be dropped."""

    fraction: float


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on exactly from here: `content` is for `task.run` of the same spec and dataset.

    `epoch` counts the finished epochs; `fraction` is of all training steps, 0–1.
    """

    content: bytes = field(repr=False)
    epoch: int
    fraction: float


@dataclass(frozen=True)
class EpochEnd:
    """An epoch is finished."""

    metrics: EpochMetrics


@dataclass(frozen=True)
class Evaluated:
    """The exported model was run over the test set."""

    report: Evaluation


@dataclass(frozen=True)
class Finished:
    """All went well. `files` maps an artifact's name to its content."""

    result: Result
    files: dict[str, bytes]


@dataclass(frozen=True)
class Failed:
    """The training ended without a model; `code` is stored with the experiment."""

    code: str
    message: str


@dataclass(frozen=True)
class Interrupted:
    """The training stopped between two steps because it was asked to; its last Checkpoint holds all that was done."""


Event = Started | Progress | Checkpoint | EpochEnd | Evaluated | Finished | Failed | Interrupted
