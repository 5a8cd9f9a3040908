"""The process that trains one experiment and ends: `python -m service.worker.child <file descriptor>`.

It imports Keras first and then waits for its job, so that a child started in advance begins to train at once. What it
learns goes back over the connection it inherited; its output goes wherever its parent directed it.

It ends by itself when its parent is gone, and when its lease is not renewed in time: a parent that is suspended, or
that waits for a database out of reach, cannot stop it, while another worker may have taken the experiment over.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

from service.train.events import Checkpoint, Event, Progress
from service.worker.messages import LEASE_EXPIRED, Accepted, Interrupt, Job, Renewed

Emit = Callable[[Progress | Checkpoint], None]
Interrupted = Callable[[], bool]
Training = Callable[[Job, Emit, Interrupted], Iterator[Event]]


def serve(descriptor: int, training: Training) -> None:
    """Wait for a `Job` on the connection, do it, send its events back."""
    connection = Connection(descriptor)
    _leave_signals_to_parent()
    try:
        job: Job = connection.recv()
    except EOFError:
        return
    connection.send(Accepted())
    interrupted = threading.Event()
    threading.Thread(target=_obey, args=(connection, job.deadline, interrupted), daemon=True).start()
    for event in training(job, connection.send, interrupted.is_set):
        connection.send(event)


def _leave_signals_to_parent() -> None:
    # Service managers signal every process of a service at its end. The parent asks for a checkpoint then.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)


def _obey(connection: Connection, deadline: float, interrupted: threading.Event) -> None:
    while True:
        try:
            if not connection.poll(max(0.0, deadline - time.monotonic())):
                os._exit(LEASE_EXPIRED)
            match connection.recv():
                case Renewed(until):
                    deadline = until
                case Interrupt():
                    interrupted.set()
        except (EOFError, OSError):
            # Nobody would read what an orphan finds out.
            os._exit(1)


def keras_training() -> Training:
    """Train for real. The slow import that makes a waiting child a warm one happens here."""
    from service.data import catalogue
    from service.errors import TrainingFailed
    from service.train import task
    from service.train.events import Failed

    def train(job: Job, emit: Emit, interrupted: Interrupted) -> Iterator[Event]:
        try:
            dataset = catalogue.load(job.spec.dataset, job.datasets_dir, job.cache_dir)
        except TrainingFailed as error:
            yield Failed(error.code, str(error))
            return
        yield from task.run(
            job.spec,
            dataset,
            job.checkpoint,
            checkpoint_seconds=job.checkpoint_seconds,
            emit=emit,
            interrupted=interrupted,
        )

    return train


if __name__ == "__main__":
    # Here, too: the import takes seconds in which a signal may come.
    _leave_signals_to_parent()
    serve(int(sys.argv[1]), keras_training())
