"""The prediction side of a process, put together: routing, loaded models, batches, shadows."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from service.inference.batcher import Answer, Batcher, Target
from service.inference.lanes import Pixels
from service.inference.models import Models
from service.inference.routing import Routing
from service.inference.shadows import Shadows
from service.inference.verdict import Beliefs
from service.settings import Settings

Result = TypeVar("Result")


class Serving:
    """Classifies images.

    Args:
        threads: how many batches run at once.
        count_batch: told of each batch's size.

    Attributes:
        models: the loaded models.
    """

    def __init__(self, database: Engine, settings: Settings, threads: int, count_batch: Callable[[int], None]) -> None:
        self.models = Models(database, settings.model_memory_bytes)
        self._routing = Routing(database)
        self._shadows = Shadows(database, self._routing, self.models)
        self._count_batch = count_batch
        self._aside = 0
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._batcher = Batcher(
            self,
            threads=threads,
            max_batch=settings.max_batch,
            max_waiting=settings.max_waiting_requests,
            done=self._done,
        )

    def check_room(self) -> None:
        """Raise Overloaded while too many requests wait, to be decoded or to be classified."""
        self._batcher.check_room(elsewhere=self._aside)

    async def aside(self, work: Callable[[], Result]) -> Result:
        """Decode or write in a thread what would take too long on the event loop."""
        self._aside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._decoders, work)
        finally:
            self._aside -= 1

    async def classify(self, reference: str, pixels: Pixels) -> Answer:
        """Classify `(n, 28, 28)` pixels with the model that an alias or an id means.

        Raises:
            Overloaded, UnknownModel, ModelRefused: as the batcher does.
        """
        return await self._batcher.classify(reference, pixels)

    def close(self) -> None:
        """End the threads."""
        self._batcher.close()
        self._decoders.shutdown()
        self._shadows.close()
        self._routing.close()

    def find(self, reference: str) -> Target | None:
        """For the batcher: what a reference means, if that is loaded."""
        resolved = self._routing.resolve(reference)
        servable = self.models.loaded(resolved.id, resolved.variant)
        return servable and Target(resolved, servable)

    def load(self, reference: str) -> Target:
        """For the batcher: what a reference means, loaded if need be."""
        resolved = self._routing.resolve(reference)
        return Target(resolved, self.models.get(resolved.id, resolved.variant))

    def _done(self, target: Target, batch: NDArray[np.float32], beliefs: Beliefs) -> None:
        self._count_batch(len(batch))
        self._shadows.see(target.resolved, batch, beliefs)
