"""The names that models are served under: what each means, who changed it, and what it meant before.

All changes of aliases happen one after the other, because what one may mean depends on the others. The lock order is:
an experiment's row first, then the aliases.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from service import schemas
from service.card import ONNX_ARTIFACTS, Variant
from service.errors import Conflict, InvalidInput, UnknownAlias, UnknownExperiment
from service.promotion import AliasTarget
from service.schemas import AliasAction
from service.states import State
from service.store import experiments, gates
from service.store.clock import now
from service.store.database import ALIASES_LOCK
from service.store.tables import Alias, AliasChange, Artifact, Experiment

DEFAULT_ALIAS = schemas.DEFAULT_ALIAS
# Begins with a letter, so that it is never mistaken for an id.
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_RESERVED = frozenset({"aliases", "numeral"})
"""Names that stand for something else where a model's alias or id could."""


class Route(NamedTuple):
    """What a server must know of an alias to answer in its name."""

    alias: str
    experiment_id: int
    name: str
    variant: Variant
    number: int
    shadows: str | None


def is_alias(text: str) -> bool:
    """Whether this could be an alias's name."""
    return _ALIAS.fullmatch(text) is not None


def routing(session: Session) -> list[Route]:
    """What every alias means, by name; one query."""
    columns = (Alias.alias, Experiment.id, Experiment.name, Alias.variant, Alias.number, Alias.shadows)
    rows = session.execute(select(*columns).join(Experiment).order_by(Alias.alias))
    return [
        Route(alias, experiment_id, name, Variant(variant), number, shadows)
        for alias, experiment_id, name, variant, number, shadows in rows
    ]


def of(session: Session) -> Sequence[Alias]:
    """All aliases, by name."""
    return session.scalars(select(Alias).order_by(Alias.alias)).all()


def get(session: Session, alias: str) -> Alias:
    """One alias.

    Raises:
        UnknownAlias: there is none of this name.
    """
    found = session.get(Alias, alias, populate_existing=True) if is_alias(alias) else None
    if found is None:
        raise UnknownAlias(alias)
    return found


def history(session: Session, alias: str) -> Sequence[AliasChange]:
    """What an alias has meant, newest first; also of one that was deleted.

    Raises:
        UnknownAlias: there never was one of this name.
    """
    query = select(AliasChange).where(AliasChange.alias == alias).order_by(AliasChange.number.desc())
    found = session.scalars(query).all() if is_alias(alias) else []
    if not found:
        raise UnknownAlias(alias)
    return found


def check(session: Session, alias: str, target: AliasTarget) -> None:
    """Do nothing if the alias may be promoted to the target at this moment.

    Raises:
        What `promote` raises.
    """
    _check_name(alias)
    _admit(session, alias, target, experiments.get(session, target.experiment_id))


def promote(session: Session, alias: str, target: AliasTarget) -> Alias:
    """Let an alias mean a model from now on. If it means just that already, nothing happens.

    Raises:
        InvalidInput: the alias is not a lower-case name, or would shadow itself.
        UnknownExperiment: no experiment has this id.
        GateFailed: the model does not pass a gate of the target.
        Conflict: the experiment has no model, or not in this variant; or what it would shadow is no alias, or shadows
            another one itself.
    """
    _check_name(alias)
    # Locked, so that it is not deleted before the alias means it.
    experiment = experiments.locked(session, target.experiment_id)
    _lock(session)
    present = _admit(session, alias, target, experiment)
    return _set(session, alias, present, target, AliasAction.PROMOTE)


def earlier(session: Session, alias: str) -> AliasChange:
    """What an alias meant before it was set last.

    Raises:
        UnknownAlias: there is none of this name.
        Conflict: it has never meant anything else, or what it meant was deleted.
    """
    change = session.get(AliasChange, (alias, get(session, alias).number - 1))
    if change is None or change.action == AliasAction.DELETE:
        raise Conflict(f"{alias} meant nothing before: there is nothing to go back to.")
    if session.get(Experiment, change.experiment_id) is None:
        raise Conflict(f"Before, {alias} meant experiment {change.experiment_id}, which was deleted.")
    return change


def rollback(session: Session, alias: str, number: int) -> Alias:
    """Let an alias mean again what `earlier` said, whose number this is. Done twice, it leads back.

    Raises:
        UnknownAlias: there is none of this name.
        Conflict: `earlier` would say something else by now, or what it shadowed then is no longer possible.
    """
    target = earlier(session, alias)
    try:
        experiment = experiments.locked(session, target.experiment_id)
    except UnknownExperiment:
        raise Conflict(f"Before, {alias} meant experiment {target.experiment_id}, which was deleted.") from None
    _lock(session)
    present = get(session, alias)
    if present.number - 1 != number:
        raise Conflict(f"{alias} was set by somebody else at the same moment: look at its history.")
    meaning = AliasTarget(experiment_id=experiment.id, variant=Variant(target.variant), shadows=target.shadows)
    _admit(session, alias, meaning, experiment)
    return _set(session, alias, present, meaning, AliasAction.ROLLBACK)


def delete(session: Session, alias: str) -> None:
    """Let an alias mean nothing. Its history stays, and one of the same name goes on with it.

    Raises:
        UnknownAlias: there is none of this name.
        Conflict: another alias shadows it.
    """
    _lock(session)
    present = get(session, alias)
    if others := _shadowing(session, alias):
        raise Conflict(f"{alias} is shadowed by {', '.join(others)}: let that shadow nothing first.")
    _note(session, present, AliasAction.DELETE)
    session.delete(present)
    session.flush()


def take_default(session: Session, experiment_id: int) -> None:
    """Let the default alias mean this experiment's model, if it means none yet. The experiment is locked."""
    if session.get(Alias, DEFAULT_ALIAS) is not None:
        return
    _lock(session)
    if session.get(Alias, DEFAULT_ALIAS) is None:
        _set(session, DEFAULT_ALIAS, None, AliasTarget(experiment_id=experiment_id), AliasAction.FIRST)


def count_shadow(session: Session, alias: str, number: int, images: int, disagreements: int) -> None:
    """Add to what an alias has found out as a shadow, if it is still set as it was under this number."""
    counted = {
        Alias.shadow_images: Alias.shadow_images + images,
        Alias.shadow_disagreements: Alias.shadow_disagreements + disagreements,
    }
    session.execute(update(Alias).where(Alias.alias == alias, Alias.number == number).values(counted))


def _lock(session: Session) -> None:
    # SQLite admits one writer at a time anyway.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(ALIASES_LOCK)))


def _check_name(alias: str) -> None:
    if alias in _RESERVED:
        raise InvalidInput(f"{alias!r} is not an alias, it stands for something else: choose another name.")
    if not is_alias(alias):
        raise InvalidInput(f"{alias!r} is not an alias: use lower-case letters, digits, - and _, a letter first.")


def _admit(session: Session, alias: str, target: AliasTarget, experiment: Experiment) -> Alias | None:
    """The alias as it is, if it may be set to the target."""
    if experiment.state != State.SUCCEEDED:
        raise Conflict(f"Experiment {experiment.id} is {experiment.state} and has no model to serve.")
    if session.get(Artifact, (experiment.id, ONNX_ARTIFACTS[target.variant])) is None:
        raise Conflict(f"Experiment {experiment.id} has no model in {target.variant}.")
    if target.shadows is not None:
        _admit_shadow(session, alias, target.shadows)
    present = session.get(Alias, alias, populate_existing=True)
    gates.judge(session, experiment, target, present)
    return present


def _admit_shadow(session: Session, alias: str, shadowed: str) -> None:
    if shadowed == alias:
        raise InvalidInput(f"{alias} cannot shadow itself.")
    other = session.get(Alias, shadowed, populate_existing=True) if is_alias(shadowed) else None
    if other is None:
        raise Conflict(f"There is no alias {shadowed!r} to shadow.")
    if other.shadows is not None:
        raise Conflict(f"{shadowed} shadows {other.shadows} itself: shadow that.")
    if others := _shadowing(session, alias):
        raise Conflict(f"{alias} is shadowed by {', '.join(others)}, so it cannot shadow {shadowed}.")


def _shadowing(session: Session, alias: str) -> Sequence[str]:
    return session.scalars(select(Alias.alias).where(Alias.shadows == alias).order_by(Alias.alias)).all()


def _set(session: Session, alias: str, present: Alias | None, target: AliasTarget, action: AliasAction) -> Alias:
    row = present or Alias(alias=alias, number=_last_number(session, alias))
    meaning = (target.experiment_id, target.variant, target.shadows)
    if meaning == (row.experiment_id, row.variant, row.shadows):
        return row
    row.experiment_id, row.variant, row.shadows = meaning
    row.shadow_images = row.shadow_disagreements = 0
    session.add(row)
    _note(session, row, action)
    session.execute(update(Alias).where(Alias.shadows == alias).values(shadow_images=0, shadow_disagreements=0))
    return row


def _last_number(session: Session, alias: str) -> int:
    return session.scalar(select(func.max(AliasChange.number)).where(AliasChange.alias == alias)) or 0


def _note(session: Session, row: Alias, action: AliasAction) -> None:
    row.number += 1
    row.updated_at = now()
    session.flush()
    session.refresh(row)
    change = AliasChange(
        alias=row.alias,
        number=row.number,
        experiment_id=row.experiment_id,
        variant=row.variant,
        shadows=row.shadows,
        action=action,
        changed_at=row.updated_at,
    )
    session.add(change)
    session.flush()
