"""What a promotion may demand of a model before an alias means it."""

import json
from typing import NamedTuple

from pydantic import ValidationError
from sqlalchemy.orm import Session, undefer

from service import card
from service.card import ServingCard, Variant
from service.errors import GateFailed
from service.promotion import AliasTarget
from service.store import experiments
from service.store.tables import Alias, Artifact, Experiment

MANIFEST = "manifest.json"


class _TestedOn(NamedTuple):
    """What an experiment's test accuracy was measured on."""

    dataset: str
    sha256: str


def judge(session: Session, experiment: Experiment, target: AliasTarget, present: Alias | None) -> None:
    """Do nothing if a model passes the gates.

    Args:
        present: what the alias means until now.

    Raises:
        GateFailed: it does not; the message has the figures.
    """
    least = target.minimum_accuracy
    if least is not None and (reached := _accuracy(session, experiment, target.variant)) < least:
        raise GateFailed(f"{_name(experiment, target.variant)} has test accuracy {reached:.4f}, less than {least:.4f}.")
    if target.not_worse and present is not None:
        _not_worse(session, experiment, target.variant, present)


def accuracies(session: Session, experiment: Experiment) -> dict[Variant, float]:
    """The test accuracy of each variant that it was measured of."""
    assert experiment.test_accuracy is not None
    return {Variant.FP32: experiment.test_accuracy} | _card(session, experiment.id).test_accuracy


def _not_worse(session: Session, experiment: Experiment, variant: Variant, present: Alias) -> None:
    other = experiments.get(session, present.experiment_id)
    ours, theirs = _name(experiment, variant), _name(other, Variant(present.variant))
    if other.id != experiment.id:
        tested, other_tested = _test_set(session, experiment), _test_set(session, other)
        if tested is None or tested != other_tested:
            raise GateFailed(f"{ours} and {theirs} were tested on different data: they cannot be compared.")
    reached = _accuracy(session, experiment, variant)
    before = _accuracy(session, other, Variant(present.variant))
    if reached < before:
        raise GateFailed(
            f"{ours} has test accuracy {reached:.4f}, less than the {before:.4f} of {theirs}, which {present.alias} is."
        )


def _accuracy(session: Session, experiment: Experiment, variant: Variant) -> float:
    known = accuracies(session, experiment)
    if variant not in known:
        raise GateFailed(f"The test accuracy of {_name(experiment, variant)} was not measured.")
    return known[variant]


def _name(experiment: Experiment, variant: Variant) -> str:
    return f"Model {experiment.id} ({variant})"


def _card(session: Session, experiment_id: int) -> ServingCard:
    content = _content(session, experiment_id, card.ARTIFACT)
    try:
        return ServingCard() if content is None else ServingCard.model_validate_json(content)
    except ValidationError:
        # A model with such a card is refused when it is loaded; here it only has measured nothing.
        return ServingCard()


def _test_set(session: Session, experiment: Experiment) -> _TestedOn | None:
    """None where the experiment does not say what it was tested on."""
    try:
        sha256 = json.loads(_content(session, experiment.id, MANIFEST) or b"{}")["dataset"]["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    return _TestedOn(experiment.spec["dataset"], sha256)


def _content(session: Session, experiment_id: int, name: str) -> bytes | None:
    found = session.get(Artifact, (experiment_id, name), options=[undefer(Artifact.content)])
    return None if found is None else found.content
