"""The models that can be served. A model is a succeeded experiment; its names are in `service.store.aliases`."""

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Select, exists, literal, select
from sqlalchemy.orm import Session

from service import schemas
from service.card import ONNX_ARTIFACTS, Variant
from service.errors import UnknownModel
from service.states import State
from service.store import aliases, artifacts, experiments, gates
from service.store.aliases import DEFAULT_ALIAS
from service.store.tables import Alias, Artifact, Experiment

_ID = re.compile(r"[0-9]{1,10}")


class Resolved(NamedTuple):
    """What an alias or an id stands for."""

    id: int
    name: str
    alias: str | None
    variant: Variant


def models(session: Session) -> list[schemas.Model]:
    """All models, newest first, with the aliases that each has."""
    names = _aliases(aliases.of(session))
    return [schemas.Model(aliases=names[row.id], **row._mapping) for row in session.execute(_models())]


def details(session: Session, reference: str) -> schemas.ModelDetails:
    """One model, by alias or id, with its files.

    Raises:
        UnknownModel: as `resolve` does.
    """
    model_id = resolve(session, reference).id
    [row] = session.execute(_models().where(Experiment.id == model_id))
    accuracies = gates.accuracies(session, experiments.get(session, model_id))
    stored = {file.name: file for file in artifacts.of(session, model_id)}
    files = [
        schemas.ModelFile(
            variant=variant,
            name=name,
            size=stored[name].size,
            sha256=stored[name].sha256,
            test_accuracy=accuracies.get(variant),
        )
        for variant, name in ONNX_ARTIFACTS.items()
        if name in stored
    ]
    return schemas.ModelDetails(aliases=_aliases(aliases.of(session))[model_id], files=files, **row._mapping)


def resolve(session: Session, reference: str) -> Resolved:
    """The model that an alias or an experiment's id stands for.

    Raises:
        UnknownModel: none; the message says what could be done.
    """
    alias = reference if aliases.is_alias(reference) else None
    if alias:
        wanted = select(Experiment.id, Experiment.name, Alias.variant).join(Alias).where(Alias.alias == alias)
    elif _ID.fullmatch(reference) and int(reference) <= experiments.MAX_ID:
        wanted = select(Experiment.id, Experiment.name, literal(Variant.FP32)).where(
            Experiment.id == int(reference), Experiment.state == State.SUCCEEDED
        )
    else:
        raise UnknownModel(f"There is no model {reference!r}.")
    row = session.execute(wanted).one_or_none()
    if row is None and reference == DEFAULT_ALIAS:
        raise UnknownModel("There is no model yet: submit an experiment, the first that succeeds is served.")
    if row is None:
        raise UnknownModel(f"There is no model {reference!r}.")
    model_id, name, variant = row
    return Resolved(model_id, name, alias, Variant(variant))


def _models() -> Select[int, str, str, float | None, int | None, bool, datetime | None]:
    has_int8 = exists().where(Artifact.experiment_id == Experiment.id, Artifact.name == ONNX_ARTIFACTS[Variant.INT8])
    columns = (
        Experiment.id,
        Experiment.name,
        Experiment.spec["dataset"].as_string().label("dataset"),
        Experiment.test_accuracy,
        Experiment.parameters,
        has_int8.label("int8"),
        Experiment.finished_at,
    )
    return select(*columns).where(Experiment.state == State.SUCCEEDED).order_by(Experiment.id.desc())


def _aliases(rows: Iterable[Alias]) -> dict[int, list[str]]:
    names: dict[int, list[str]] = defaultdict(list)
    for row in rows:
        names[row.experiment_id].append(row.alias)
    return names
