"""The page of models: which of them is best, and what each alias means and has meant."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from service import schemas
from service.card import Variant
from service.schemas import AliasAction

MOST_CHANGES = 50
"""Lines of an alias's history that are shown."""

ACTIONS = {
    AliasAction.FIRST: "the first model there was",
    AliasAction.PROMOTE: "promoted",
    AliasAction.ROLLBACK: "rolled back",
    AliasAction.DELETE: "deleted",
}


class Row(NamedTuple):
    """A model.

    Attributes:
        model: what is known of it.
        is_best: whether none is more accurate on the same dataset.
        aliases: the names that mean it, with the variant of each.
        promotable: the variants that the default alias does not mean yet.
    """

    model: schemas.Model
    is_best: bool
    aliases: list[schemas.Alias]
    promotable: list[Variant]


class Named(NamedTuple):
    """An alias.

    Attributes:
        alias: what it means.
        model: its model.
        history: what it has meant, newest first.
        earlier: what it would be rolled back to, if anything.
        disagreement: the share of images on which it saw another digit than what it shadows.
    """

    alias: schemas.Alias
    model: schemas.Model
    history: Sequence[schemas.AliasChange]
    earlier: schemas.AliasChange | None
    disagreement: float | None


def rows(models: Sequence[schemas.Model], aliases: Sequence[schemas.Alias]) -> list[Row]:
    """The table's rows, in the order of the models."""
    best: dict[str, float] = {}
    for model in models:
        best[model.dataset] = max(model.test_accuracy, best.get(model.dataset, 0.0))
    naming: dict[int, list[schemas.Alias]] = {}
    for alias in aliases:
        naming.setdefault(alias.experiment_id, []).append(alias)
    return [
        Row(model, model.test_accuracy == best[model.dataset], names, _promotable(model, names))
        for model in models
        for names in [naming.get(model.id, [])]
    ]


def _promotable(model: schemas.Model, names: Collection[schemas.Alias]) -> list[Variant]:
    served = {alias.variant for alias in names if alias.alias == schemas.DEFAULT_ALIAS}
    made = [Variant.FP32, Variant.INT8] if model.int8 else [Variant.FP32]
    return [variant for variant in made if variant not in served]


def named(
    aliases: Sequence[schemas.Alias],
    models: Sequence[schemas.Model],
    histories: Mapping[str, Sequence[schemas.AliasChange]],
) -> list[Named]:
    """The aliases, the default one first."""
    known = {model.id: model for model in models}
    ordered = sorted(aliases, key=lambda alias: (alias.alias != schemas.DEFAULT_ALIAS, alias.alias))
    return [
        Named(
            alias,
            known[alias.experiment_id],
            histories[alias.alias][:MOST_CHANGES],
            _earlier(histories[alias.alias], known),
            alias.shadow_disagreements / alias.shadow_images if alias.shadow_images else None,
        )
        for alias in ordered
    ]


def _earlier(history: Sequence[schemas.AliasChange], known: Collection[int]) -> schemas.AliasChange | None:
    if len(history) < 2 or history[1].action == AliasAction.DELETE or history[1].experiment_id not in known:
        return None
    return history[1]
