"""What a training tells the outside, in this order: Started, EpochEnd…, Evaluated, Finished; or Failed at any point.

Free of Keras, so that a supervisor can read events without importing it.
"""

from dataclasses import dataclass

from service.schemas import EpochMetrics, Evaluation, Result


@dataclass(frozen=True)
class Started:
    """Data and model are ready; the first epoch begins."""

    device: str
    parameters: int


@dataclass(frozen=True)
class Progress:
    """Between epochs: the fraction of all training steps that are done. May be dropped."""

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


Event = Started | Progress | EpochEnd | Evaluated | Finished | Failed
