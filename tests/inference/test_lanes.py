"""Whose images go into the next batch: strictly bounded, fair, and never of two models."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.inference.lanes import Job, Lanes, Piece

MODEL, NEWER = "model", "newer"


def job(images: int, reference: str = "production") -> Job:
    return Job(reference, np.zeros((images, 28, 28), np.uint8))


def lanes(*jobs: Job, max_batch: int = 16) -> Lanes[Job]:
    made: Lanes[Job] = Lanes(max_batch)
    for each in jobs:
        made.put(each)
    return made


def batch(waiting: Lanes[Job], model: str = MODEL) -> list[Piece[Job]]:
    """The next one, while the reference means this model."""
    turn = waiting.turn()
    assert turn is not None
    return waiting.take(turn, turn.model or model, admit=turn.model in (None, model))


def images(pieces: list[Piece[Job]]) -> int:
    return sum(stop - start for _, start, stop in pieces)


def test_a_batch_takes_all_that_waits() -> None:
    jobs = [job(1) for _ in range(5)]
    waiting = lanes(*jobs)
    assert [piece.job for piece in batch(waiting)] == jobs
    assert waiting.waiting == 0
    assert waiting.turn() is None


def test_a_batch_has_at_most_max_batch_images() -> None:
    waiting = lanes(*(job(1) for _ in range(40)))
    assert [images(batch(waiting)) for _ in range(3)] == [16, 16, 8]


def test_a_large_request_is_cut_up_and_a_small_one_goes_with_the_next_batch() -> None:
    large, small = job(10_000), job(1)
    waiting = lanes(large)
    assert images(batch(waiting)) == 16
    waiting.put(small)
    assert {piece.job: piece.stop - piece.start for piece in batch(waiting)} == {small: 1, large: 15}


def test_large_requests_share() -> None:
    jobs = [job(1000) for _ in range(3)]
    waiting = lanes(*jobs)
    for _ in range(30):
        batch(waiting)
    assert {each.taken // 10 for each in jobs} == {16}


def test_requests_of_less_than_a_batch_are_served_one_after_the_other() -> None:
    jobs = [job(10) for _ in range(4)]
    waiting = lanes(*jobs)
    assert [(piece.job, piece.stop) for piece in batch(waiting)] == [(jobs[0], 10), (jobs[1], 6)]
    assert [(piece.job, piece.stop) for piece in batch(waiting)] == [(jobs[1], 10), (jobs[2], 10), (jobs[3], 2)]


def test_a_large_request_gets_on_however_many_small_ones_come() -> None:
    large = job(100)
    waiting = lanes(large)
    while large.left:
        for _ in range(16):
            waiting.put(job(1))
        before = large.taken
        batch(waiting)
        batch(waiting)
        assert large.taken > before


def test_references_take_turns() -> None:
    waiting = lanes(job(100, "production"), job(100, "staging"))
    assert [batch(waiting)[0].job.reference for _ in range(4)] == ["production", "staging"] * 2


def test_a_request_keeps_the_model_that_it_began_with() -> None:
    old = job(20)
    waiting = lanes(old)
    batch(waiting, MODEL)
    new = job(1)
    waiting.put(new)
    assert {(piece.job, piece.job.model) for piece in batch(waiting, NEWER)} == {(old, MODEL)}
    assert {(piece.job, piece.job.model) for piece in batch(waiting, NEWER)} == {(new, NEWER)}


def test_who_comes_while_a_model_is_looked_up_does_not_get_it() -> None:
    early, late = job(1), job(1)
    waiting = lanes(early)
    turn = waiting.turn()
    assert turn is not None
    waiting.put(late)
    assert [piece.job for piece in waiting.take(turn, MODEL)] == [early]
    assert late.model is None


def test_refusing_a_turn_spares_who_has_a_model_or_came_later() -> None:
    begun, unknown = job(20), job(1)
    waiting = lanes(begun)
    batch(waiting)
    waiting.put(unknown)
    turn = waiting.turn()
    assert turn is not None
    late = job(1)
    waiting.put(late)
    assert waiting.refuse(turn) == [unknown]
    assert (waiting.waiting, waiting.jobs) == (begun.left + late.left, 2)


def test_a_dropped_request_takes_no_further_part() -> None:
    gone, other = job(100), job(1)
    waiting = lanes(gone, other)
    waiting.drop([gone])
    assert (waiting.waiting, waiting.jobs) == (1, 1)
    assert [piece.job for piece in batch(waiting)] == [other]
    assert waiting.jobs == 0


@given(
    sizes=st.lists(st.tuples(st.integers(1, 50), st.sampled_from(["a", "b", "c"])), min_size=1, max_size=30),
    max_batch=st.integers(1, 20),
)
def test_every_image_is_taken_once_and_in_order(sizes: list[tuple[int, str]], max_batch: int) -> None:
    jobs = [job(count, reference) for count, reference in sizes]
    waiting = lanes(*jobs, max_batch=max_batch)
    taken: dict[Job, list[int]] = {each: [] for each in jobs}
    while waiting.turn():
        pieces = batch(waiting)
        assert 0 < images(pieces) <= max_batch
        assert len({piece.job.reference for piece in pieces}) == 1
        for each, start, stop in pieces:
            taken[each].extend(range(start, stop))
        assert waiting.waiting == sum(each.left for each in jobs)
        assert waiting.jobs == sum(each.left > 0 for each in jobs)
    assert all(numbers == list(range(len(each.pixels))) for each, numbers in taken.items())
