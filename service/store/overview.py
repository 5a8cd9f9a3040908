"""Experiments as the dashboard's table lists them: with their metrics, filtered and sorted."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from service.states import State
from service.store import experiments
from service.store.experiments import MAX_ID
from service.store.tables import EpochMetrics, Event, Experiment, Tag

MOST_TAGS = 200

_best = select(func.max(EpochMetrics.val_accuracy)).where(EpochMetrics.experiment_id == Experiment.id).scalar_subquery()
_last = (
    select(EpochMetrics.val_accuracy)
    .where(EpochMetrics.experiment_id == Experiment.id, EpochMetrics.epoch == Experiment.epoch)
    .scalar_subquery()
)
_seconds = select(func.sum(EpochMetrics.seconds)).where(EpochMetrics.experiment_id == Experiment.id).scalar_subquery()
_started = (
    select(Event.data)
    .where(Event.experiment_id == Experiment.id, Event.type == "started")
    .order_by(Event.number.desc())
    .limit(1)
    .scalar_subquery()
)

_rows = select(Experiment, _best, _last, _seconds, _started)

SORTS: Mapping[str, ColumnElement[Any]] = {
    "id": Experiment.id.expression,
    "name": func.lower(Experiment.name),
    "state": Experiment.state.expression,
    "progress": Experiment.fraction.expression,
    "best": _best,
    "last": _last,
    "test": Experiment.test_accuracy.expression,
    "seconds": _seconds,
}
"""What the table can be sorted by."""


class Row(NamedTuple):
    """An experiment with what its epochs came to.

    Attributes:
        experiment: its record.
        best: largest validation accuracy of an epoch, if there is one.
        last: validation accuracy of the last epoch that is finished.
        seconds: time trained, the epochs of its present model only.
        device: what its last attempt trained on.
    """

    experiment: Experiment
    best: float | None
    last: float | None
    seconds: float | None
    device: str | None


class Listing(NamedTuple):
    """A part of the table.

    Attributes:
        rows: that part.
        total: how many experiments pass the filters.
    """

    rows: list[Row]
    total: int


def listing(
    session: Session,
    *,
    state: State | None = None,
    tag: str | None = None,
    sweep: int | None = None,
    text: str | None = None,
    sort: str = "id",
    descending: bool = True,
    offset: int = 0,
    limit: int = 50,
) -> Listing:
    """At most `limit` experiments from the place `offset` on.

    Args:
        text: in the name or a tag, upper and lower case alike; or an id.
        sort: a key of `SORTS`. Experiments without that figure come last, equal ones the newest first.
    """
    chosen = _filtered(select(Experiment.id), state, tag, sweep, text)
    total = session.scalars(select(func.count()).select_from(chosen.subquery())).one()
    column = SORTS[sort]
    order = column.desc() if descending else column.asc()
    query = _filtered(_rows, state, tag, sweep, text).order_by(order.nulls_last(), Experiment.id.desc())
    return Listing([_row(*found) for found in session.execute(query.offset(offset).limit(limit))], total)


def row(session: Session, experiment_id: int) -> Row:
    """One experiment.

    Raises:
        UnknownExperiment: no experiment has this id.
    """
    experiment = experiments.get(session, experiment_id)
    return _row(*session.execute(_rows.where(Experiment.id == experiment.id)).one())


def tags(session: Session) -> list[str]:
    """The tags that experiments have, by the alphabet, at most `MOST_TAGS`."""
    return list(session.scalars(select(Tag.tag).distinct().order_by(Tag.tag).limit(MOST_TAGS)))


def _row(experiment: Experiment, best: float | None, last: float | None, seconds: float | None, started: Any) -> Row:
    return Row(experiment, best, last, seconds, started["device"] if started else None)


def _filtered(
    query: Select[Any], state: State | None, tag: str | None, sweep: int | None, text: str | None
) -> Select[Any]:
    query = experiments.filtered(query, state, tag, sweep)
    if text is not None:
        tagged = select(Tag.experiment_id).where(Tag.tag.icontains(text, autoescape=True))
        matches = [Experiment.name.icontains(text, autoescape=True), Experiment.id.in_(tagged)]
        if text.isascii() and text.isdecimal() and int(text) <= MAX_ID:
            matches.append(Experiment.id == int(text))
        query = query.where(or_(*matches))
    return query


class Standing(NamedTuple):
    """What changes whenever something happens to any experiment.

    Attributes:
        counts: how many are in each state.
        events: the sum of all their events' numbers.
        newest: the largest id.
    """

    counts: dict[State, int]
    events: int
    newest: int


def standing(session: Session) -> Standing:
    """How things stand with all experiments together."""
    query = select(Experiment.state, func.count(), func.sum(Experiment.last_event), func.max(Experiment.id))
    found = session.execute(query.group_by(Experiment.state)).all()
    counts = dict.fromkeys(State, 0) | {State(state): count for state, count, _, _ in found}
    events = sum(events for _, _, events, _ in found)
    return Standing(counts, events, max((newest for _, _, _, newest in found), default=0))


class Step(NamedTuple):
    """How far a running experiment is."""

    id: int
    epoch: int
    epochs: int
    fraction: float


def steps(session: Session) -> list[Step]:
    """How far the running experiments are."""
    query = select(Experiment.id, Experiment.epoch, Experiment.epochs, Experiment.fraction)
    found = session.execute(query.where(Experiment.state == State.RUNNING).order_by(Experiment.id))
    return [Step(*row) for row in found]
