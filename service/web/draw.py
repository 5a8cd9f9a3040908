"""The models that a drawing can be shown to, and those that an address chooses."""

from collections.abc import Sequence
from typing import NamedTuple

from service import schemas
from service.card import Variant
from service.web.formats import accuracy

MOST_MODELS = 6
"""So many are asked side by side, at most."""


class Choosable(NamedTuple):
    """An alias or a model.

    Attributes:
        reference: what the API calls it.
        label: its short name.
        about: what is behind it.
    """

    reference: str
    label: str
    about: str


class Offer(NamedTuple):
    """All that can be chosen: the default alias first, then the other aliases; models, newest first."""

    aliases: list[Choosable]
    models: list[Choosable]


class Choice(NamedTuple):
    """What an address chooses.

    Attributes:
        references: the aliases and models that are asked; never empty as long as there is a model.
        problems: what could not be done as the address says.
    """

    references: list[str]
    problems: list[str]


def offer(models: Sequence[schemas.Model], aliases: Sequence[schemas.Alias]) -> Offer:
    """What can be chosen, of all models and aliases."""
    by_id = {model.id: model for model in models}
    ordered = sorted(aliases, key=lambda alias: (alias.alias != schemas.DEFAULT_ALIAS, alias.alias))
    return Offer(
        [
            Choosable(alias.alias, alias.alias, _meaning(by_id[alias.experiment_id], alias.variant))
            for alias in ordered
            if alias.experiment_id in by_id
        ],
        [Choosable(str(model.id), f"model {model.id}", _described(model)) for model in models],
    )


def choose(offered: Offer, asked: Sequence[str]) -> Choice:
    """What is asked of what is offered: without repetition, and the first of all where nothing else is left."""
    everything = [each.reference for each in (*offered.aliases, *offered.models)]
    wanted = list(dict.fromkeys(filter(None, asked)))
    found = [reference for reference in wanted if reference in everything]
    problems = [f"There is no model {reference!r}." for reference in wanted if reference not in everything]
    if len(found) > MOST_MODELS:
        problems.append(f"At most {MOST_MODELS} models are asked side by side: these are the first of {len(found)}.")
    return Choice(found[:MOST_MODELS] or everything[:1], problems)


def _meaning(model: schemas.Model, variant: Variant) -> str:
    return ", ".join([f"model {model.id}", *([variant] if variant != Variant.FP32 else []), _described(model)])


def _described(model: schemas.Model) -> str:
    return f"{model.name}, {accuracy(model.test_accuracy)} of {model.dataset}"
