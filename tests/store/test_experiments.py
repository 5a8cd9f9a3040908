"""Lists of experiments, on both databases."""

from typing import Any

import pytest
from sqlalchemy import Engine

from service.states import State
from service.store import experiments
from tests.store.support import MAKE, begun, fail, see, submit, succeed, write


def page_ids(database: Engine, **filters: Any) -> list[int]:
    return [experiment.id for experiment in see(database, experiments.page, **filters)]


def test_pages_follow_each_other_without_overlap_while_new_experiments_come_in(database: Engine) -> None:
    ids = [submit(database) for _ in range(5)]
    first = page_ids(database, limit=2)
    submit(database)
    second = page_ids(database, limit=2, before=first[-1])
    third = page_ids(database, limit=2, before=second[-1])
    assert first + second + third == ids[::-1]
    assert page_ids(database, before=third[-1]) == []


def test_pages_are_filtered_by_state_and_by_tag(database: Engine) -> None:
    failed = write(database, begun(database, tags=["blue", "red"]), fail)
    red = submit(database, tags=["red"])
    plain = submit(database)
    assert page_ids(database, tag="red") == [red, failed]
    assert page_ids(database, state=State.QUEUED) == [plain, red]
    assert page_ids(database, state=State.QUEUED, tag="red") == [red]
    assert page_ids(database, state=State.SUCCEEDED) == []
    assert page_ids(database, tag="re") == []
    assert page_ids(database, tag="red", before=red) == [failed]


def test_experiments_are_counted_by_state_those_that_nothing_is_in_too(database: Engine) -> None:
    assert see(database, experiments.count_by_state) == dict.fromkeys(State, 0)
    write(database, begun(database), fail)
    write(database, begun(database), succeed)
    MAKE[State.PAUSED](database)
    submit(database)
    submit(database)
    assert see(database, experiments.count_by_state) == {
        State.QUEUED: 2,
        State.RUNNING: 0,
        State.PAUSED: 1,
        State.SUCCEEDED: 1,
        State.FAILED: 1,
        State.CANCELLED: 0,
    }


@pytest.mark.parametrize("state", State)
def test_a_page_of_a_state_has_those_that_are_in_it(database: Engine, state: State) -> None:
    made = {each: MAKE[each](database) for each in sorted(State, key=lambda each: each == State.QUEUED)}
    assert page_ids(database, state=state) == [made[state]]
