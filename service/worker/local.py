"""The local engine: every training is a child process of its own, so that all its memory comes back when it ends."""

import contextlib
import logging
import os
import queue as queues
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from pathlib import Path

from service.train.events import Event
from service.worker.messages import Accepted, Exited, Interrupt, Job, Renewed

logger = logging.getLogger(__name__)

CHILD = (sys.executable, "-m", "service.worker.child")
LOG_LIMIT = 1024 * 1024
START_SECONDS = 120
"""A child that dies later than this has been up: its imports are not to blame."""
VMSTAT = Path("/proc/vmstat")

Report = Accepted | Event | Exited
Deliver = Callable[[Report], None]


class Child:
    """A process that waits for one job, does it and ends."""

    def __init__(self, command: Sequence[str], keras_backend: str) -> None:
        self._began = time.monotonic()
        self._oom_kills = 0
        self._connection, theirs = Pipe()
        # Unnamed, so that it is gone with its last user, however that one ends.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the child)
        self._process = subprocess.Popen(
            [*command, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            # A session of its own: a Ctrl-C in the terminal reaches the supervisor, which decides about its children;
            # and killing the group also ends what the child has started.
            start_new_session=True,
            env={
                **os.environ,
                "KERAS_BACKEND": keras_backend,
                "PYTHONUNBUFFERED": "1",
                "TF_CPP_MIN_LOG_LEVEL": "2",
                # The same spec and seed give the same figures on a GPU, too.
                "TF_DETERMINISTIC_OPS": "1",
                # Take the GPU's memory as it is needed, so that several slots can share one.
                "TF_FORCE_GPU_ALLOW_GROWTH": "true",
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            },
        )
        theirs.close()
        # Written by a thread: a child that does not read, as it does not while it imports, must not hold up its parent.
        self._outbox: queues.SimpleQueue[Job | Renewed | Interrupt | None] = queues.SimpleQueue()
        self._threads: list[threading.Thread] = []

    @property
    def pid(self) -> int:
        """Also the id of its process group and session."""
        return self._process.pid

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._began

    def is_alive(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def begin(self, job: Job, deliver: Deliver) -> None:
        """Hand over the job. `deliver` is called, from a thread of the child's own, with `Accepted`, each event, and
        `Exited` at the end."""
        self._oom_kills = _oom_kills()
        self._outbox.put(job)
        self._threads = [
            threading.Thread(target=self._write, name=f"to-child-{self.pid}", daemon=True),
            threading.Thread(target=self._read, args=(deliver,), name=f"from-child-{self.pid}", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def renew(self, deadline: float) -> None:
        """Let the child go on until `deadline` (`time.monotonic`); without a further one it ends itself then."""
        self._outbox.put(Renewed(deadline))

    def interrupt(self) -> None:
        """Ask for a checkpoint and the end."""
        self._outbox.put(Interrupt())

    def log(self) -> bytes:
        """What the child has printed; only the end of it if that is more than a megabyte."""
        size = os.fstat(self._log.fileno()).st_size
        start = max(0, size - LOG_LIMIT)
        # pread leaves the file position alone, which the child shares.
        text = os.pread(self._log.fileno(), LOG_LIMIT, start)
        return f"[the first {start} bytes are left out]\n".encode() + text if start else text

    def kill(self) -> None:
        """End the child and all that it has started, now."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Kill it and let go of its log."""
        self.kill()
        self._log.close()
        self._outbox.put(None)
        for thread in self._threads:
            thread.join()
        # Only now: a thread that still used it might use the number of another file.
        self._connection.close()

    def _write(self) -> None:
        # A child that has ended takes nothing any more; the reader finds out how it ended.
        with contextlib.suppress(OSError):
            while (message := self._outbox.get()) is not None:
                self._connection.send(message)

    def _read(self, deliver: Deliver) -> None:
        try:
            while True:
                deliver(self._connection.recv())
        except (EOFError, OSError):
            pass
        except Exception:
            # A message that cannot be read: without this the supervisor would wait for the next one for ever.
            logger.exception("training process %d sent what cannot be read", self.pid)
            self.kill()
        status = self._process.wait()
        deliver(Exited(status, status == -signal.SIGKILL and _oom_kills() > self._oom_kills))


class LocalEngine:
    """Starts children, and keeps one in reserve that has imported Keras already."""

    def __init__(self, keras_backend: str, command: Sequence[str] = CHILD) -> None:
        self._keras_backend = keras_backend
        self._command = command
        self._spare: Child | None = None

    def prepare(self) -> str | None:
        """Have a spare child. If the last one has died while it started, what it printed is returned."""
        dead = self._spare
        if dead is not None and dead.is_alive():
            return None
        self._spare = self._child()
        if dead is None:
            return None
        output = dead.log().decode(errors="replace")
        dead.close()
        return output if dead.age < START_SECONDS else None

    def start(self, job: Job, deliver: Deliver) -> Child:
        """Train in the spare child, or in a fresh one if there is none."""
        child, self._spare = self._living_spare() or self._child(), None
        child.begin(job, deliver)
        return child

    def _child(self) -> Child:
        return Child(self._command, self._keras_backend)

    def _living_spare(self) -> Child | None:
        if self._spare is not None and not self._spare.is_alive():
            self.close()
        return self._spare

    def close(self) -> None:
        """End the spare child."""
        if self._spare is not None:
            self._spare.close()
            self._spare = None


def _oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory since it started; 0 where it does not say."""
    try:
        counters = dict(line.split() for line in VMSTAT.read_text().splitlines())
    except OSError:
        return 0
    return int(counters.get("oom_kill", 0))
