"""The process that trains one experiment and ends: `python -m service.worker.child <file descriptor>`.

It imports Keras first and then waits for its job, so that a child started in advance begins to train at once. What it
learns goes back over the connection it inherited; its output goes wherever its parent directed it.
"""

import os
import sys
import threading
from multiprocessing.connection import Connection

from service.data import catalogue
from service.errors import TrainingFailed
from service.train.events import Failed, Progress
from service.worker.messages import Accepted, Job


def main(descriptor: int) -> None:
    """Wait for a `Job` on the connection, do it, send its events back."""
    from service.train import task  # the slow import that makes a waiting child a warm one

    connection = Connection(descriptor)
    try:
        job: Job = connection.recv()
    except EOFError:
        return
    connection.send(Accepted())
    threading.Thread(target=_end_with_parent, args=(connection,), daemon=True).start()

    def report(fraction: float) -> None:
        connection.send(Progress(fraction))

    try:
        dataset = catalogue.load(job.spec.dataset, job.datasets_dir, job.cache_dir)
    except TrainingFailed as error:
        connection.send(Failed(error.code, str(error)))
        return
    for event in task.run(job.spec, dataset, report):
        connection.send(event)


def _end_with_parent(connection: Connection) -> None:
    """Nobody would read what an orphan finds out."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
