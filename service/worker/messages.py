"""What a supervisor and its training processes tell each other, besides the events of `service.train.events`.

A module of its own because a child runs as `__main__`: what is defined there has another name on the other side.
"""

from dataclasses import dataclass
from pathlib import Path

from service.specs.experiment import ExperimentSpec


@dataclass(frozen=True)
class Job:
    """All that a child is told."""

    spec: ExperimentSpec
    datasets_dir: Path | None
    cache_dir: Path


@dataclass(frozen=True)
class Accepted:
    """The child has imported all that it needs and has taken its job: what goes wrong from here on is the job's."""


@dataclass(frozen=True)
class Exited:
    """A child is gone; negative statuses are signals, as `subprocess` has them."""

    status: int
