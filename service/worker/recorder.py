"""One attempt, and how what its training reports gets into the database: each event in a transaction of its own."""

import signal
from collections import deque
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from service.schemas import Evaluation
from service.specs.fingerprint import fingerprint
from service.states import State
from service.store import attempts, checkpoints, queue, results
from service.store.leases import Lease
from service.train.events import (
    Checkpoint,
    EpochEnd,
    Evaluated,
    Failed,
    Finished,
    Interrupted,
    Progress,
    Started,
)
from service.worker import local
from service.worker.local import Child
from service.worker.messages import LEASE_EXPIRED, Accepted, Exited


@dataclass(frozen=True)
class Cancel:
    """The owner asked for the end, and the child is gone. Takes the place of whatever the child had reported."""


Report = local.Report | Cancel


@dataclass
class Run:
    """One attempt that a supervisor is responsible for."""

    lease: Lease
    child: Child
    deadline: float
    """Until then (`time.monotonic`) the lease cannot have run out."""
    pending: deque[Report] = field(default_factory=deque)
    """Reported, but not in the database yet; in order."""
    evaluation: Evaluation | None = None
    accepted: bool = False
    training: bool = False
    """The first epoch is over: from here on the machine has nothing more urgent to start."""
    interrupt_reason: str | None = None
    """Why the child was asked to end with a checkpoint: one of `attempts.UNSPENT`."""
    expired: bool = False
    """The child was killed because the lease was not renewed in time."""

    def tell(self, report: Report) -> None:
        """Take down what the child has reported. How far it is, and what it can go on from, only count as it is now."""
        if self.pending and isinstance(report, Progress | Checkpoint) and type(report) is type(self.pending[-1]):
            self.pending.pop()
        self.pending.append(report)

    def interrupt(self, reason: str) -> None:
        """Ask the child for a checkpoint and the end, once."""
        if self.interrupt_reason is None:
            self.interrupt_reason = reason
            self.child.interrupt()

    def expire(self) -> None:
        """Stop the child: from now on another worker may train."""
        self.expired = True
        self.child.kill()


def record(session: Session, run: Run, event: Report, retry_seconds: float) -> str | None:
    """Store one event; returns how the attempt ended if this was its last one.

    Raises:
        LeaseLost: the experiment is somebody else's by now; nothing was written.
    """
    match event:
        case Accepted():
            run.accepted = True
        case Started(device, parameters, dataset_sha256, epoch):
            identity = fingerprint(run.lease.spec, dataset_sha256)
            results.start(session, run.lease, device, parameters, epoch, identity)
            run.training = epoch > 0
        case Progress(fraction):
            results.progress(session, run.lease, fraction)
        case EpochEnd(metrics):
            results.epoch(session, run.lease, metrics)
            run.training = True
        case Checkpoint(content, epoch, fraction):
            checkpoints.put(session, run.lease, content, epoch, fraction)
        case Evaluated(report):
            # Kept until the end: evaluation, files and state are committed together.
            run.evaluation = report
        case Finished(result, files):
            assert run.evaluation is not None, "a training reports its evaluation before it finishes"
            results.succeed(session, run.lease, result, run.evaluation, files, run.child.log())
            return f"succeeded, test accuracy {result.test_accuracy:.4f}"
        case Failed(code, message):
            results.fail(session, run.lease, code, message, run.child.log())
            return f"failed, {code}: {message}"
        case Cancel():
            results.cancelled(session, run.lease, run.child.log())
            return "cancelled"
        case Interrupted():
            state = queue.give_back(session, run.lease, run.interrupt_reason or attempts.SHUTDOWN)
            return f"interrupted, {state}"
        case Exited(status, out_of_memory):
            return _exited(session, run, status, out_of_memory, retry_seconds)
    return None


def _exited(session: Session, run: Run, status: int, out_of_memory: bool, retry_seconds: float) -> str:
    """The child has ended without a last word."""
    if run.expired or status == LEASE_EXPIRED:
        # Nobody has taken it over meanwhile; it goes on from its last checkpoint.
        return f"{queue.give_back(session, run.lease, attempts.EXPIRED)}, its lease was not renewed in time"
    if not run.accepted:
        # No fault of the experiment: another worker, or another process, may do better.
        return f"{queue.give_back(session, run.lease, attempts.NOT_STARTED)}, its process did not start"
    if out_of_memory:
        message = "The operating system killed the training: the machine ran out of memory. Use a smaller batch size."
        results.fail(session, run.lease, "out_of_memory", message, run.child.log())
        return f"failed, out_of_memory: {message}"
    code, message = _explain(status)
    state = results.lose(session, run.lease, code, message, run.child.log(), retry_seconds)
    return f"{state}, {code}: {message}" if state == State.FAILED else f"{state} after {code}"


def _explain(status: int) -> tuple[str, str]:
    """The outcome and message of a training process that ended without a last word."""
    if status >= 0:
        return "process_exited", f"The training process ended with exit status {status}; log.txt has its last words."
    known = {number.value: number.name for number in signal.Signals}
    name = known.get(-status, f"signal {-status}")
    hint = " The machine may have run out of memory." if -status == signal.SIGKILL else ""
    return "process_killed", f"The training process was killed by the operating system ({name}).{hint}"
