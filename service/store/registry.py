"""The models that can be served, and the aliases that name them. A model is a succeeded experiment."""

import re
from collections import defaultdict

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service import schemas
from service.errors import Conflict, InvalidInput, UnknownModel
from service.states import State
from service.store import experiments
from service.store.clock import now
from service.store.tables import Alias, Experiment

DEFAULT_ALIAS = "production"
_ID = re.compile(r"[0-9]{1,10}")
# Begins with a letter, so that it is never mistaken for an id.
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def models(session: Session) -> list[schemas.Model]:
    """All models, newest first, with the aliases that each has."""
    aliases: dict[int, list[str]] = defaultdict(list)
    for alias in session.scalars(select(Alias).order_by(Alias.alias)):
        aliases[alias.experiment_id].append(alias.alias)
    columns = (
        Experiment.id,
        Experiment.name,
        Experiment.test_accuracy,
        Experiment.parameters,
        Experiment.finished_at,
    )
    query = select(*columns).where(Experiment.state == State.SUCCEEDED).order_by(Experiment.id.desc())
    return [schemas.Model(aliases=aliases[row.id], **row._mapping) for row in session.execute(query)]


def set_alias(session: Session, alias: str, experiment_id: int) -> Alias:
    """Let an alias mean an experiment's model from now on.

    Raises:
        InvalidInput: the alias is not a lower-case name.
        UnknownExperiment: no experiment has this id.
        Conflict: the experiment has no model.
    """
    if not _ALIAS.fullmatch(alias):
        raise InvalidInput(f"{alias!r} is not an alias: use lower-case letters, digits, - and _, a letter first.")
    # Locked, so that it is not deleted before the alias means it.
    experiment = experiments.locked(session, experiment_id)
    if experiment.state != State.SUCCEEDED:
        raise Conflict(f"Experiment {experiment_id} is {experiment.state} and has no model to serve.")
    statement = _insert(session, alias, experiment_id).on_conflict_do_update(
        index_elements=[Alias.alias], set_={"experiment_id": experiment_id, "updated_at": now()}
    )
    session.execute(statement)
    return session.get_one(Alias, alias, populate_existing=True)


def take_default_alias(session: Session, experiment_id: int) -> None:
    """Let the default alias mean this experiment's model, if it means none yet."""
    session.execute(_insert(session, DEFAULT_ALIAS, experiment_id).on_conflict_do_nothing())


def resolve(session: Session, reference: str) -> schemas.ServedModel:
    """The model that an alias or an experiment's id stands for.

    Raises:
        UnknownModel: none; the message says what could be done.
    """
    wanted = select(Experiment.id, Experiment.name).where(Experiment.state == State.SUCCEEDED)
    alias = reference if _ALIAS.fullmatch(reference) else None
    if alias:
        wanted = wanted.join(Alias, Alias.experiment_id == Experiment.id).where(Alias.alias == alias)
    elif _ID.fullmatch(reference) and int(reference) <= experiments.MAX_ID:
        wanted = wanted.where(Experiment.id == int(reference))
    else:
        raise UnknownModel(f"There is no model {reference!r}.")
    row = session.execute(wanted).one_or_none()
    if row is None and reference == DEFAULT_ALIAS:
        raise UnknownModel("There is no model yet: submit an experiment, the first that succeeds is served.")
    if row is None:
        raise UnknownModel(f"There is no model {reference!r}.")
    return schemas.ServedModel(id=row.id, name=row.name, alias=alias)


def _insert(session: Session, alias: str, experiment_id: int) -> sqlite.Insert | postgresql.Insert:
    # SQL has no common word for "or else"; the two dialects' statements read alike.
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement: sqlite.Insert | postgresql.Insert = dialect.insert(Alias)
    return statement.values(alias=alias, experiment_id=experiment_id)
