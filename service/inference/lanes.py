"""What waits to be classified, and whose turn it is. Knows no threads and no models."""

from collections import deque
from collections.abc import Collection
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.float32]
"""Images of a request: `(n, 28, 28)`, 0–255, light on black."""


class Job:
    """A request's images.

    Attributes:
        reference: the model that is asked for, an alias or an id.
        model: what answers; decided when the first images are taken, so that all of them get the same.
        taken: how many of the images have been taken into batches.
        number: jobs that came later have higher ones.
    """

    def __init__(self, reference: str, pixels: Pixels) -> None:
        self.reference = reference
        self.pixels = pixels
        self.model: Any = None
        self.taken = 0
        self.number = 0

    @property
    def left(self) -> int:
        """Images that wait."""
        return len(self.pixels) - self.taken


AJob = TypeVar("AJob", bound=Job)


class Piece(NamedTuple, Generic[AJob]):
    """Images `start` to `stop` of a job, in a batch."""

    job: AJob
    start: int
    stop: int


class Turn(NamedTuple):
    """Whose turn it is: a lane, and the jobs in it that have come by now.

    `model` is that of the job in front, None if it has none yet.
    """

    reference: str
    model: Any
    newest: int


class Lanes(Generic[AJob]):
    """Jobs by reference. The lanes take turns; within one it is first come, first served.

    Only jobs that are larger than a batch are cut into slices, a quarter of a batch each (more if there is room), and
    after each the others come first: so one of 10,000 images hardly delays one of a single. To give all jobs equal
    shares would let equal ones wait for each other, and all of them end late.

    Whoever uses lanes from several threads needs a lock; the two counts may be read without.
    """

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        self._slice = max(1, max_batch // 4)
        self._lanes: dict[str, deque[AJob]] = {}
        self._held: dict[str, deque[AJob]] = {}
        self._newest = 0
        self.waiting = 0
        """Images that wait, over all lanes."""
        self.jobs = 0
        """Jobs that they belong to."""

    def put(self, job: AJob) -> None:
        """Queue a job up."""
        self._newest += 1
        job.number = self._newest
        self.waiting += job.left
        self.jobs += 1
        lanes = self._held if job.reference in self._held else self._lanes
        lanes.setdefault(job.reference, deque()).append(job)

    def turn(self) -> Turn | None:
        """Whose turn it is, None if nothing waits."""
        for reference, lane in self._lanes.items():
            return Turn(reference, lane[0].model, self._newest)
        return None

    def hold(self, turn: Turn) -> bool:
        """Let a lane have no turns until it is released; False if there is no such lane any more."""
        if turn.reference in self._lanes:
            self._held[turn.reference] = self._lanes.pop(turn.reference)
            return True
        return False

    def release(self, turn: Turn) -> None:
        """End a hold."""
        self._put_back(turn.reference, list(self._held.pop(turn.reference)))

    def take(self, turn: Turn, model: Any, admit: bool = True) -> list[Piece[AJob]]:
        """A batch for this model: of the jobs of the turn that have it, and if `admit` of those that have none yet and
        get it now. It may be empty, if somebody else was quicker.
        """
        lane: deque[AJob] = self._lanes.pop(turn.reference, deque())
        chosen: list[AJob] = []
        passed: list[AJob] = []
        while lane and len(chosen) < self._max_batch:
            job = lane.popleft()
            # A job that came after the model was looked up may be entitled to a newer one.
            fits = job.model == model or (admit and job.model is None and job.number <= turn.newest)
            (chosen if fits else passed).append(job)

        taken = {job: job.taken for job in chosen}
        room = self._fill(chosen)
        for job in chosen:
            job.model = model
        self.waiting -= self._max_batch - room
        self.jobs -= sum(not job.left for job in chosen)

        # Who was passed, or cut by the batch's end, is in front; what is larger than a batch goes behind all, who got
        # most of it last.
        unfinished = [job for job in chosen if job.left]
        front = [job for job in unfinished if not self._is_large(job)]
        behind = sorted(filter(self._is_large, unfinished), key=lambda job: job.taken - taken[job])
        self._put_back(turn.reference, [*passed, *front, *lane, *behind])
        return [Piece(job, start, job.taken) for job, start in taken.items() if job.taken > start]

    def _fill(self, jobs: list[AJob]) -> int:
        """Take from the jobs what fits into a batch; returns the room that is left."""
        room = self._max_batch
        for job in jobs:
            count = min(job.left, room, self._slice if self._is_large(job) else room)
            job.taken, room = job.taken + count, room - count
        for job in jobs:
            count = min(job.left, room)
            job.taken, room = job.taken + count, room - count
        return room

    def _is_large(self, job: AJob) -> bool:
        return len(job.pixels) > self._max_batch

    def refuse(self, turn: Turn) -> list[AJob]:
        """Remove the turn's jobs that have no model: their reference means none."""
        lane: deque[AJob] = self._lanes.pop(turn.reference, deque())
        refused = [job for job in lane if job.model is None and job.number <= turn.newest]
        self.waiting -= sum(job.left for job in refused)
        self.jobs -= len(refused)
        self._put_back(turn.reference, [job for job in lane if job not in refused])
        return refused

    def drop(self, jobs: Collection[AJob]) -> None:
        """Remove what is left of jobs that have failed, or that nobody waits for any more."""
        for job in jobs:
            for lanes in (self._lanes, self._held):
                if job in lanes.get(job.reference, ()):
                    lanes[job.reference].remove(job)
                    self.waiting -= job.left
                    self.jobs -= 1
            if not self._lanes.get(job.reference, True):
                del self._lanes[job.reference]

    def _put_back(self, reference: str, jobs: list[AJob]) -> None:
        if jobs:
            self._lanes[reference] = deque(jobs)
