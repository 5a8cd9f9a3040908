"""What a supervisor and its training processes tell each other, besides the events of `service.train.events`.

A module of its own because a child runs as `__main__`: what is defined there has another name on the other side.
"""

from dataclasses import dataclass
from pathlib import Path

from service.specs.experiment import ExperimentSpec

LEASE_EXPIRED = 75
"""Exit status of a child whose lease was not renewed in time (sysexits.h: EX_TEMPFAIL)."""


@dataclass(frozen=True)
class Job:
    """What a child begins with. `deadline` is the first `Renewed`."""

    spec: ExperimentSpec
    datasets_dir: Path | None
    cache_dir: Path
    checkpoint: bytes | None
    checkpoint_seconds: float
    deadline: float


@dataclass(frozen=True)
class Renewed:
    """The lease cannot have run out before `deadline`, in seconds of `time.monotonic`, which all processes of a machine
    share."""

    deadline: float


@dataclass(frozen=True)
class Interrupt:
    """Make a checkpoint and end."""


@dataclass(frozen=True)
class Accepted:
    """The child has imported all that it needs and has taken its job: what goes wrong from here on is the job's."""


@dataclass(frozen=True)
class Exited:
    """A child is gone; negative statuses are signals, as `subprocess` has them."""

    status: int
    out_of_memory: bool = False
    """The kernel has killed a process for lack of memory while the child ran, and the child was killed."""
