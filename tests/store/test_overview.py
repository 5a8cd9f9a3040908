"""The table of experiments as the database filters and sorts it, on both databases."""

from typing import Any

import pytest
from sqlalchemy import Engine

from service.errors import UnknownExperiment
from service.states import State
from service.store import overview, results
from service.store.database import reading
from tests.store.support import begun, make_trial, measured, see, submit, transact


def names(database: Engine, **given: Any) -> list[str]:
    return [row.experiment.name for row in see(database, overview.listing, **given).rows]


@pytest.fixture
def three(database: Engine) -> None:
    """The second of them is trained: its first epoch was the better one."""
    submit(database, name="Alpha", tags=["red", "50%"])
    lease = begun(database, name="beta", tags=["red"], priority=1)
    transact(database, results.start, lease, "gpu:0", 7850)
    for epoch, accuracy in ((1, 0.9), (2, 0.7)):
        transact(database, results.epoch, lease, measured(epoch).model_copy(update={"val_accuracy": accuracy}))
    submit(database, name="gamma_1")


@pytest.mark.usefixtures("three")
def test_filtered(database: Engine) -> None:
    assert names(database) == ["gamma_1", "beta", "Alpha"]
    assert names(database, state=State.QUEUED) == ["gamma_1", "Alpha"]
    assert names(database, tag="red") == ["beta", "Alpha"]
    transact(database, make_trial, 1, 3)
    assert names(database, sweep=1) == ["gamma_1", "Alpha"]
    assert names(database, sweep=2) == []
    assert names(database, text="ALPH") == ["Alpha"]
    assert names(database, text="2") == ["beta"]
    assert names(database, text="99999999999999999999") == []
    assert names(database, state=State.QUEUED, tag="red", text="a") == ["Alpha"]
    # What text means to LIKE, it does not mean here.
    assert names(database, text="%") == ["Alpha"]
    assert names(database, text="_") == ["gamma_1"]


@pytest.mark.usefixtures("three")
def test_sorted_with_what_has_no_figure_at_the_end(database: Engine) -> None:
    assert names(database, sort="name", descending=False) == ["Alpha", "beta", "gamma_1"]
    for column in ("best", "last", "seconds"):
        assert names(database, sort=column) == ["beta", "gamma_1", "Alpha"]
        assert names(database, sort=column, descending=False) == ["beta", "gamma_1", "Alpha"]
    assert names(database, sort="test") == ["gamma_1", "beta", "Alpha"]
    for column in overview.SORTS:
        assert len(names(database, sort=column)) == 3


@pytest.mark.usefixtures("three")
def test_in_parts(database: Engine) -> None:
    part = see(database, overview.listing, offset=1, limit=1, tag="red")
    assert ([row.experiment.name for row in part.rows], part.total) == (["Alpha"], 2)
    assert see(database, overview.listing, offset=7) == overview.Listing([], 3)


@pytest.mark.usefixtures("three")
def test_what_the_epochs_came_to(database: Engine) -> None:
    with reading(database) as session:
        row = overview.row(session, 2)
        assert (row.best, row.last, row.seconds, row.device) == (0.9, 0.7, 2 * measured(1).seconds, "gpu:0")
        waiting = overview.row(session, 1)
        assert (waiting.best, waiting.last, waiting.seconds, waiting.device) == (None, None, None, None)
        with pytest.raises(UnknownExperiment):
            overview.row(session, 4711)


@pytest.mark.usefixtures("three")
def test_tags_and_standing(database: Engine) -> None:
    assert see(database, overview.tags) == ["50%", "red"]
    standing = see(database, overview.standing)
    assert {state: count for state, count in standing.counts.items() if count} == {"queued": 2, "running": 1}
    assert see(database, overview.steps) == [overview.Step(2, 2, 4, 0.5)]
    submit(database)
    assert see(database, overview.standing) != standing
