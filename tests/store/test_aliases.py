"""What aliases mean, who may change that, and how it is taken back, on both databases."""

import json
from collections.abc import Callable
from itertools import count, pairwise
from typing import Any

import pytest
from sqlalchemy import Engine, delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.card import ServingCard, Variant
from service.errors import Conflict, GateFailed, InvalidInput, UnknownAlias, UnknownExperiment
from service.promotion import AliasTarget
from service.states import State
from service.store import aliases, artifacts, control, registry, results
from service.store.aliases import Route
from service.store.database import reading, writing
from service.store.leases import Lease
from service.store.tables import Alias, Experiment
from tests.store.support import (
    EVALUATION,
    FILES,
    MAKE,
    RESULT,
    at_once,
    begun,
    fail,
    look,
    see,
    set_alias,
    succeed,
    transact,
    write,
)

FP32, INT8 = Variant.FP32, Variant.INT8
MNIST, OTHER = "1" * 64, "2" * 64


def model(
    database: Engine,
    accuracy: float = 0.99,
    tested_on: str | None = MNIST,
    int8: float | None = None,
    fp32: float | None = None,
    **given: Any,
) -> int:
    """A succeeded experiment.

    Args:
        accuracy: what the experiment says.
        tested_on: the hash in its manifest.
        int8: what its card says about its int8 model; it has none without.
        fp32: the same for the other one.
    """
    manifest = {} if tested_on is None else {"dataset": {"sha256": tested_on}}
    files = FILES | {"manifest.json": json.dumps(manifest).encode()}
    measured = {variant: value for variant, value in ((FP32, fp32), (INT8, int8)) if value is not None}
    if measured:
        files["serving.json"] = ServingCard(test_accuracy=measured).model_dump_json().encode()
    if int8 is not None:
        files["model.int8.onnx"] = b"int8"

    def end(session: Session, lease: Lease) -> None:
        result = RESULT.model_copy(update={"test_accuracy": accuracy})
        results.succeed(session, lease, result, EVALUATION, files, b"")

    return write(database, begun(database, **given), end)


@pytest.fixture
def models(database: Engine) -> tuple[int, int, int]:
    """Three models; `production` means the first."""
    return model(database), model(database, int8=0.98), model(database)


def get(database: Engine, alias: str = "production") -> Alias:
    return see(database, aliases.get, alias)


def roll_back(database: Engine, alias: str = "production") -> Alias:
    number = see(database, aliases.earlier, alias).number
    return transact(database, aliases.rollback, alias, number)


def told(database: Engine, alias: str = "production") -> list[tuple[int, int, str]]:
    """Number, experiment and action of each change, in order."""
    changes = see(database, aliases.history, alias)
    return [(change.number, change.experiment_id, change.action) for change in reversed(changes)]


# Promoting


def test_an_alias_is_set_and_its_history_is_told(database: Engine, models: tuple[int, int, int]) -> None:
    first, second, _ = models
    alias = transact(database, set_alias, "production", second, variant=INT8)
    assert (alias.experiment_id, alias.variant, alias.number, alias.shadows) == (second, "int8", 2, None)
    newest, oldest = see(database, aliases.history, "production")
    assert (oldest.number, oldest.experiment_id, oldest.variant, oldest.action) == (1, first, "fp32", "first")
    assert (newest.number, newest.experiment_id, newest.variant, newest.action) == (2, second, "int8", "promote")
    assert newest.changed_at == alias.updated_at > oldest.changed_at


def test_setting_an_alias_to_what_it_means_changes_nothing(database: Engine, models: tuple[int, int, int]) -> None:
    before = transact(database, set_alias, "production", models[1])
    again = transact(database, set_alias, "production", models[1])
    assert (again.number, again.updated_at) == (before.number, before.updated_at)
    assert len(told(database)) == 2
    assert transact(database, set_alias, "production", models[1], variant=INT8).number == 3


def test_what_is_not_said_of_an_alias_has_its_default(database: Engine, models: tuple[int, int, int]) -> None:
    transact(database, set_alias, "staging", models[1], variant=INT8, shadows="production")
    plain = transact(database, set_alias, "staging", models[1])
    assert (plain.variant, plain.shadows) == ("fp32", None)


@pytest.mark.parametrize("ask", [aliases.check, aliases.promote])
def test_a_variant_that_there_is_no_file_of_is_refused(database: Engine, ask: Callable[..., Any]) -> None:
    target = AliasTarget(experiment_id=model(database), variant=INT8)
    with pytest.raises(Conflict, match="has no model in int8"):
        transact(database, ask, "production", target)
    assert get(database).number == 1


@pytest.mark.parametrize("state", [state for state in State if state != State.SUCCEEDED])
def test_only_a_success_can_be_checked(database: Engine, state: State) -> None:
    target = AliasTarget(experiment_id=MAKE[state](database))
    with pytest.raises(Conflict, match=f"is {state} and has no model"):
        see(database, aliases.check, "production", target)


def test_what_is_no_model_or_no_name_can_not_be_checked_either(database: Engine) -> None:
    with pytest.raises(UnknownExperiment):
        see(database, aliases.check, "production", AliasTarget(experiment_id=2**40))
    target = AliasTarget(experiment_id=model(database))
    for name in ("1", "Production", "aliases"):
        with pytest.raises(InvalidInput, match="is not an alias"):
            see(database, aliases.check, name, target)


@pytest.mark.parametrize("alias", ["none", "", "Production", "1", "a\x00"])
def test_what_is_no_alias_is_unknown(database: Engine, alias: str) -> None:
    model(database)
    for ask in (aliases.get, aliases.history, aliases.earlier, aliases.delete):
        with pytest.raises(UnknownAlias):
            transact(database, ask, alias)
    with pytest.raises(UnknownAlias):
        transact(database, aliases.rollback, alias, 1)


# Gates


def demand(database: Engine, experiment_id: int, alias: str = "production", **gates: Any) -> Alias:
    return transact(database, set_alias, alias, experiment_id, **gates)


def test_a_model_must_reach_the_minimum(database: Engine) -> None:
    model(database)
    candidate = model(database, accuracy=0.975, int8=0.96)
    with pytest.raises(GateFailed, match=rf"Model {candidate} \(fp32\) has test accuracy 0.9750, less than 0.9760"):
        demand(database, candidate, minimum_accuracy=0.976)
    with pytest.raises(GateFailed, match=r"\(int8\) has test accuracy 0.9600"):
        demand(database, candidate, minimum_accuracy=0.975, variant=INT8)
    assert len(told(database)) == 1
    assert demand(database, candidate, minimum_accuracy=0.975).experiment_id == candidate


def test_what_the_card_says_counts_before_what_the_experiment_says(database: Engine) -> None:
    candidate = model(database, accuracy=0.9, fp32=0.95)
    assert demand(database, candidate, alias="staging", minimum_accuracy=0.95)


def test_an_accuracy_that_was_not_measured_passes_no_gate(database: Engine) -> None:
    candidate = model(database, int8=0.98)
    transact(database, artifacts.put, candidate, "serving.json", b'{"format": 1, "test_acc')
    with pytest.raises(GateFailed, match="was not measured"):
        demand(database, candidate, minimum_accuracy=0.0, variant=INT8)


def test_a_model_must_not_be_worse_than_the_present_one(database: Engine) -> None:
    first = model(database, accuracy=0.99, int8=0.98)
    worse, equal = model(database, accuracy=0.985), model(database, accuracy=0.99)
    with pytest.raises(GateFailed, match=rf"Model {worse} .* 0.9850, less than the 0.9900 of Model {first} \(fp32\)"):
        demand(database, worse, not_worse=True)
    assert demand(database, equal, not_worse=True).experiment_id == equal
    demand(database, first, variant=INT8)
    assert demand(database, worse, not_worse=True).experiment_id == worse, "better than the int8 model"


def test_two_variants_of_a_model_are_compared_whatever_it_was_tested_on(database: Engine) -> None:
    only = model(database, accuracy=0.99, int8=0.98, tested_on=None)
    with pytest.raises(GateFailed, match=r"\(int8\) has test accuracy 0.9800, less than the 0.9900"):
        demand(database, only, variant=INT8, not_worse=True)
    demand(database, only, variant=INT8)
    assert demand(database, only, not_worse=True).variant == "fp32"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"tested_on": OTHER}),
        ({}, {"dataset": "optdigits"}),
        ({}, {"tested_on": None}),
        ({"tested_on": None}, {}),
        ({"tested_on": None}, {"tested_on": None}),
    ],
)
def test_accuracies_on_different_data_are_not_compared(
    database: Engine, before: dict[str, Any], after: dict[str, Any]
) -> None:
    model(database, accuracy=0.5, **before)
    with pytest.raises(GateFailed, match="cannot be compared"):
        demand(database, model(database, accuracy=0.99, **after), not_worse=True)


def test_an_alias_that_means_nothing_yet_is_not_better_than_anything(database: Engine) -> None:
    assert demand(database, model(database, tested_on=None), alias="staging", not_worse=True).number == 1


@pytest.mark.parametrize("ask", [aliases.check, aliases.promote])
def test_gates_are_judged_before_a_model_is_loaded_and_when_it_is_set(
    database: Engine, ask: Callable[..., Any]
) -> None:
    target = AliasTarget(experiment_id=model(database), minimum_accuracy=1.0)
    with pytest.raises(GateFailed):
        transact(database, ask, "staging", target)


# Taking back


def test_rolling_back_twice_leads_back(database: Engine, models: tuple[int, int, int]) -> None:
    first, second, _ = models
    transact(database, set_alias, "production", second, variant=INT8)
    back = roll_back(database)
    assert (back.experiment_id, back.variant, back.number) == (first, "fp32", 3)
    forth = roll_back(database)
    assert (forth.experiment_id, forth.variant, forth.number) == (second, "int8", 4)
    assert told(database) == [
        (1, first, "first"),
        (2, second, "promote"),
        (3, first, "rollback"),
        (4, second, "rollback"),
    ]


def test_a_rollback_brings_the_shadow_back_too(database: Engine, models: tuple[int, int, int]) -> None:
    transact(database, set_alias, "staging", models[1], shadows="production")
    transact(database, set_alias, "staging", models[2])
    assert roll_back(database, "staging").shadows == "production"


def test_a_rollback_to_a_shadow_that_is_not_possible_any_more_is_refused(
    database: Engine, models: tuple[int, int, int]
) -> None:
    transact(database, set_alias, "other", models[0])
    transact(database, set_alias, "staging", models[1], shadows="other")
    transact(database, set_alias, "staging", models[2])
    transact(database, aliases.delete, "other")
    with pytest.raises(Conflict, match="no alias 'other' to shadow"):
        roll_back(database, "staging")
    assert get(database, "staging").experiment_id == models[2]


def test_without_anything_earlier_there_is_nothing_to_go_back_to(database: Engine) -> None:
    model(database)
    with pytest.raises(Conflict, match="nothing to go back to"):
        roll_back(database)


@pytest.mark.parametrize("ask", [aliases.earlier, lambda session, alias: aliases.rollback(session, alias, 1)])
def test_what_was_deleted_cannot_come_back_but_is_still_told_of(
    database: Engine, models: tuple[int, int, int], ask: Callable[..., Any]
) -> None:
    first, second, third = models
    transact(database, set_alias, "production", second)
    transact(database, control.delete, first)
    with pytest.raises(Conflict, match=f"meant experiment {first}, which was deleted"):
        transact(database, ask, "production")
    transact(database, set_alias, "production", third)
    assert [row[1] for row in told(database)] == [first, second, third]
    assert roll_back(database).experiment_id == second


def test_a_rollback_of_what_somebody_else_has_set_meanwhile_is_refused(
    database: Engine, models: tuple[int, int, int]
) -> None:
    transact(database, set_alias, "production", models[1])
    number = see(database, aliases.earlier, "production").number
    transact(database, set_alias, "production", models[2])
    with pytest.raises(Conflict, match="set by somebody else"):
        transact(database, aliases.rollback, "production", number)
    assert get(database).experiment_id == models[2]


# Deleting


def test_a_deleted_alias_goes_on_where_it_was_if_it_comes_back(database: Engine, models: tuple[int, int, int]) -> None:
    first, second, third = models
    transact(database, set_alias, "staging", second)
    transact(database, aliases.delete, "staging")
    with pytest.raises(UnknownAlias):
        get(database, "staging")
    assert told(database, "staging") == [(1, second, "promote"), (2, second, "delete")]
    assert transact(database, set_alias, "staging", third).number == 3
    with pytest.raises(Conflict, match="nothing to go back to"):
        roll_back(database, "staging")
    transact(database, control.delete, second)
    transact(database, aliases.delete, "production")
    transact(database, control.delete, first)


def test_the_next_success_takes_a_default_alias_that_was_deleted(database: Engine) -> None:
    model(database)
    transact(database, aliases.delete, "production")
    second = model(database)
    assert get(database).experiment_id == second
    assert [action for _, _, action in told(database)] == ["first", "delete", "first"]


def test_an_experiment_that_goes_without_asking_takes_its_alias_but_not_the_history(
    database: Engine, models: tuple[int, int, int]
) -> None:
    transact(database, set_alias, "production", models[1])
    transact(database, set_alias, "staging", models[2], shadows="production")
    transact(database, Session.execute, delete(Experiment).where(Experiment.id == models[1]))
    assert get(database, "staging").shadows is None
    assert len(told(database)) == 2
    assert transact(database, set_alias, "production", models[0]).number == 3


# Shadows


def test_a_shadow_must_follow_an_alias_that_follows_none(database: Engine, models: tuple[int, int, int]) -> None:
    transact(database, set_alias, "staging", models[1], shadows="production")

    def refused(error: type[Exception], text: str, alias: str, **given: Any) -> None:
        with pytest.raises(error, match=text):
            transact(database, set_alias, alias, models[1], **given)

    refused(InvalidInput, "cannot shadow itself", "staging", shadows="staging")
    refused(Conflict, "no alias 'none' to shadow", "staging", shadows="none")
    refused(Conflict, "no alias 'No!' to shadow", "staging", shadows="No!")
    refused(Conflict, "staging shadows production itself", "canary", shadows="staging")
    transact(database, set_alias, "canary", models[1])
    refused(Conflict, "production is shadowed by staging", "production", shadows="canary")
    with pytest.raises(Conflict, match="production is shadowed by staging"):
        transact(database, aliases.delete, "production")
    transact(database, aliases.delete, "staging")
    assert transact(database, set_alias, "production", models[0], shadows="canary").shadows == "canary"


def counted(database: Engine, alias: str) -> tuple[int, int]:
    row = get(database, alias)
    return row.shadow_images, row.shadow_disagreements


def test_disagreements_are_counted_until_the_alias_or_what_it_shadows_is_set(
    database: Engine, models: tuple[int, int, int]
) -> None:
    stamped = transact(database, set_alias, "staging", models[1], shadows="production").updated_at
    for _ in range(2):
        transact(database, aliases.count_shadow, "staging", 1, 2**33, 3)
    assert counted(database, "staging") == (2**34, 6)
    assert get(database, "staging").updated_at == stamped
    assert counted(database, "production") == (0, 0)

    transact(database, set_alias, "staging", models[2], shadows="production")
    assert counted(database, "staging") == (0, 0)
    transact(database, aliases.count_shadow, "staging", 1, 10, 10)
    assert counted(database, "staging") == (0, 0), "that was about the model before"

    transact(database, aliases.count_shadow, "staging", 2, 10, 1)
    transact(database, set_alias, "canary", models[0])
    transact(database, set_alias, "production", models[0])
    assert counted(database, "staging") == (10, 1), "nothing has changed for it"
    transact(database, set_alias, "production", models[1])
    assert counted(database, "staging") == (0, 0)
    transact(database, aliases.count_shadow, "none", 1, 10, 1)


@pytest.mark.parametrize("counts", [(1, 2), (0, -1)])
def test_the_database_refuses_counts_that_cannot_be(
    database: Engine, models: tuple[int, int, int], counts: tuple[int, int]
) -> None:
    with pytest.raises(IntegrityError, match="disagreements_in_range"):
        transact(database, aliases.count_shadow, "production", 1, *counts)


# What servers ask


def test_routing_tells_what_every_alias_means(database: Engine) -> None:
    assert see(database, aliases.routing) == []
    first, second = model(database, name="first"), model(database, name="second", int8=0.98)
    write(database, begun(database), fail)
    transact(database, set_alias, "staging", second, variant=INT8, shadows="production")
    transact(database, set_alias, "canary", second)
    transact(database, set_alias, "canary", first)
    assert see(database, aliases.routing) == [
        Route("canary", first, "first", FP32, 2, None),
        Route("production", first, "first", FP32, 1, None),
        Route("staging", second, "second", INT8, 1, "production"),
    ]
    assert [alias.alias for alias in see(database, aliases.of)] == ["canary", "production", "staging"]
    assert see(database, registry.resolve, "staging").variant == INT8
    assert see(database, registry.resolve, str(second)).variant == FP32


# At the same moment


def test_promotions_at_the_same_moment_are_numbered_without_gaps(
    database: Engine, models: tuple[int, int, int]
) -> None:
    turns = count()

    def work() -> None:
        for _ in range(10):
            transact(database, set_alias, "canary", models[next(turns) % 3])

    at_once(6, work)
    changes = told(database, "canary")
    assert [number for number, _, _ in changes] == list(range(1, len(changes) + 1))
    meant = [experiment_id for _, experiment_id, _ in changes]
    assert all(one != other for one, other in pairwise(meant)), "each row is a change"
    last = get(database, "canary")
    assert (last.number, last.experiment_id) == changes[-1][:2]


def test_whether_it_is_worse_is_judged_by_what_the_alias_means_at_that_moment(database: Engine) -> None:
    candidates = [model(database, accuracy=0.9 + index / 100) for index in range(8)]
    turns = iter(candidates * 3)

    def work() -> None:
        for _ in range(4):
            try:
                transact(database, set_alias, "canary", next(turns), not_worse=True)
            except GateFailed:
                continue

    at_once(6, work)
    accuracies = [look(database, experiment_id).test_accuracy for _, experiment_id, _ in told(database, "canary")]
    assert accuracies == sorted(accuracies)
    assert get(database, "canary").experiment_id == candidates[-1]


def test_of_rollbacks_at_the_same_moment_one_is_done(database: Engine, models: tuple[int, int, int]) -> None:
    transact(database, set_alias, "production", models[1])
    number = see(database, aliases.earlier, "production").number

    def work() -> bool:
        try:
            transact(database, aliases.rollback, "production", number)
        except Conflict:
            return False
        return True

    assert at_once(6, work).count(True) == 1
    assert get(database).experiment_id == models[0]


def test_first_successes_and_promotions_at_the_same_moment_wait_for_each_other(database: Engine) -> None:
    leases = [begun(database) for _ in range(4)]
    turns = iter(leases)

    def work() -> None:
        lease = next(turns)
        transact(database, succeed, lease)
        for _ in range(5):
            transact(database, set_alias, "production", lease.experiment_id)

    at_once(4, work)
    changes = told(database)
    assert changes[0][2] == "first"
    assert [number for number, _, _ in changes] == list(range(1, len(changes) + 1))


def test_shadows_that_are_set_at_the_same_moment_make_no_chain(database: Engine, models: tuple[int, int, int]) -> None:
    for name in ("a", "b"):
        transact(database, set_alias, name, models[0])
    pairs = iter([("a", "b"), ("b", "a")] * 2)

    def work() -> None:
        one, other = next(pairs)
        try:
            transact(database, set_alias, one, models[0], shadows=other)
        except Conflict:
            return

    at_once(4, work)
    with reading(database) as session:
        assert [row.shadows for row in aliases.of(session)].count(None) == 2
    with writing(database) as session:
        assert session.get_one(Alias, "production").shadows is None
