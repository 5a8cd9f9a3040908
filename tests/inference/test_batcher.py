"""Requests in, answers out: together in batches, each by one model, and none lost whatever fails."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.card import ServingCard, Variant
from service.errors import ModelRefused, Overloaded, UnknownModel
from service.inference.batcher import Answer, Batcher, Target
from service.inference.models import Servable
from service.inference.session import Outputs
from service.store.registry import Resolved


class Model:
    """Sees the digit that an image's first pixel says. It can be held up, and notes its batches' sizes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.running = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.fails = False

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        self.sizes.append(len(batch))
        self.running.set()
        assert self.go_on.wait(10)
        if self.fails:
            raise RuntimeError("out of memory")
        return Outputs(np.eye(10, dtype=np.float32)[batch[:, 0, 0, 0].astype(int) % 10], None)


class Source:
    """What references mean here; models outside of `loaded` take until `may_load` is set."""

    def __init__(self, **models: Model) -> None:
        self.meant: dict[str, Target] = {}
        self.loaded: set[str] = set()
        self.may_load = threading.Event()
        self.may_load.set()
        for number, (reference, model) in enumerate(models.items(), start=1):
            self.mean(reference, number, model)

    def mean(self, reference: str, experiment_id: int, model: Model) -> None:
        servable = Servable(experiment_id, Variant.FP32, ServingCard(), model, "", 0)  # type: ignore[arg-type]
        self.meant[reference] = Target(Resolved(experiment_id, "made", reference, Variant.FP32), servable)
        self.loaded.add(reference)

    def find(self, reference: str) -> Target | None:
        if reference not in self.meant:
            raise UnknownModel(f"There is no model {reference!r}.")
        return self.meant[reference] if reference in self.loaded else None

    def load(self, reference: str) -> Target:
        assert self.may_load.wait(10)
        self.loaded.add(reference)
        if reference == "damaged":
            raise ModelRefused("It is damaged.")
        return self.meant[reference]


def images(*digits: int) -> NDArray[np.uint8]:
    pixels = np.zeros((len(digits), 28, 28), np.uint8)
    pixels[:, 0, 0] = digits
    pixels[:, 1, 1] = 255
    return pixels


def seen(answer: Answer) -> list[int]:
    return answer.beliefs.probabilities.argmax(axis=1).tolist()


def with_batcher(
    source: Source, do: Callable[[Batcher], Coroutine[Any, Any, None]], *, threads: int = 1, max_waiting: int = 1000
) -> None:
    async def run() -> None:
        batcher = Batcher(source, threads=threads, max_batch=16, max_waiting=max_waiting)
        try:
            async with asyncio.timeout(20):
                await do(batcher)
        finally:
            await asyncio.to_thread(batcher.close)

    asyncio.run(run())


@pytest.mark.parametrize("threads", [1, 2])
def test_every_request_gets_its_own_answer(threads: int) -> None:
    async def do(batcher: Batcher) -> None:
        rng = np.random.default_rng(0)
        asked = [rng.integers(0, 10, rng.integers(1, 60)).tolist() for _ in range(200)]
        answers = await asyncio.gather(*(batcher.classify("production", images(*digits)) for digits in asked))
        assert [seen(answer) for answer in answers] == asked
        assert batcher.waiting == 0

    model = Model()
    with_batcher(Source(production=model), do, threads=threads)
    assert max(model.sizes) == 16


def test_what_comes_while_a_batch_runs_is_the_next_batch() -> None:
    model = Model()

    async def do(batcher: Batcher) -> None:
        model.go_on.clear()
        first = asyncio.create_task(batcher.classify("production", images(1)))
        await asyncio.to_thread(model.running.wait)
        others = [asyncio.create_task(batcher.classify("production", images(digit))) for digit in range(10)]
        while batcher.waiting < 10:
            await asyncio.sleep(0)
        model.go_on.set()
        await asyncio.gather(first, *others)

    with_batcher(Source(production=model), do)
    assert model.sizes == [1, 10]


def test_who_comes_together_goes_together() -> None:
    model = Model()

    async def do(batcher: Batcher) -> None:
        await asyncio.gather(*(batcher.classify("production", images(digit)) for digit in range(10)))

    with_batcher(Source(production=model), do, threads=2)
    assert model.sizes == [10]


def test_a_single_image_does_not_wait_for_a_large_request() -> None:
    model = Model()

    async def do(batcher: Batcher) -> None:
        large = asyncio.create_task(batcher.classify("production", images(*[1] * 10_000)))
        await asyncio.to_thread(model.running.wait)
        assert seen(await batcher.classify("production", images(7))) == [7]
        assert not large.done()
        assert seen(await large) == [1] * 10_000

    with_batcher(Source(production=model), do)


def test_a_request_that_has_begun_ends_with_its_model_and_the_next_gets_the_new_one() -> None:
    old, new = Model(), Model()
    source = Source(production=old)

    async def do(batcher: Batcher) -> None:
        old.go_on.clear()
        large = asyncio.create_task(batcher.classify("production", images(*[1] * 1000)))
        await asyncio.to_thread(old.running.wait)
        source.mean("production", 2, new)
        small = asyncio.create_task(batcher.classify("production", images(7)))
        old.go_on.set()
        assert (await small).target.resolved.id == 2
        assert (await large).target.resolved.id == 1

    with_batcher(source, do)
    assert sum(old.sizes) == 1000
    assert new.sizes == [1]


def test_too_much_is_refused_until_there_is_room() -> None:
    model = Model()

    async def do(batcher: Batcher) -> None:
        model.go_on.clear()
        first = asyncio.create_task(batcher.classify("production", images(1)))
        await asyncio.to_thread(model.running.wait)
        others = [asyncio.create_task(batcher.classify("production", images(2))) for _ in range(50)]
        while batcher.waiting < 50:
            await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await batcher.classify("production", images(3))
        assert caught.value.retry_seconds >= 1
        model.go_on.set()
        await asyncio.gather(first, *others)
        assert seen(await batcher.classify("production", images(3))) == [3]

    with_batcher(Source(production=model), do, max_waiting=50)


def test_an_unknown_reference_fails_alone() -> None:
    async def do(batcher: Batcher) -> None:
        known, unknown = await asyncio.gather(
            batcher.classify("production", images(4)),
            batcher.classify("nobody", images(4)),
            return_exceptions=True,
        )
        assert isinstance(known, Answer)
        assert isinstance(unknown, UnknownModel)

    with_batcher(Source(production=Model()), do)


def test_a_model_that_is_being_loaded_keeps_nobody_else_waiting() -> None:
    source = Source(production=Model(), slow=Model())
    source.loaded.remove("slow")
    source.may_load.clear()

    async def do(batcher: Batcher) -> None:
        slow = [asyncio.create_task(batcher.classify("slow", images(digit))) for digit in range(3)]
        await asyncio.sleep(0)
        for digit in range(10):
            assert seen(await batcher.classify("production", images(digit))) == [digit]
        assert not any(task.done() for task in slow)
        source.may_load.set()
        assert [seen(await task) for task in slow] == [[0], [1], [2]]

    with_batcher(source, do)


def test_a_model_that_cannot_be_loaded_is_refused_and_the_others_go_on() -> None:
    source = Source(production=Model(), damaged=Model())
    source.loaded.remove("damaged")

    async def do(batcher: Batcher) -> None:
        with pytest.raises(ModelRefused, match="damaged"):
            await batcher.classify("damaged", images(1))
        assert seen(await batcher.classify("production", images(5))) == [5]

    with_batcher(source, do)


def test_a_batch_that_fails_fails_its_requests_and_no_others() -> None:
    model = Model()

    async def do(batcher: Batcher) -> None:
        model.fails = True
        with pytest.raises(RuntimeError, match="out of memory"):
            await batcher.classify("production", images(*[1] * 100))
        assert batcher.waiting == 0
        model.fails = False
        assert seen(await batcher.classify("production", images(5))) == [5]

    with_batcher(Source(production=model), do)


def test_a_request_that_nobody_waits_for_any_more_is_dropped() -> None:
    model = Model()

    async def do(batcher: Batcher) -> None:
        model.go_on.clear()
        first = asyncio.create_task(batcher.classify("production", images(1)))
        await asyncio.to_thread(model.running.wait)
        gone = asyncio.create_task(batcher.classify("production", images(*[2] * 500)))
        while not batcher.waiting:
            await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert batcher.waiting == 0
        model.go_on.set()
        await first

    with_batcher(Source(production=model), do)
    assert model.sizes == [1]
