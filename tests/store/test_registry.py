"""Models and the aliases that they are served under, on both databases."""

import math

import pytest
from sqlalchemy import Engine

from service.card import Variant
from service.errors import Conflict, InvalidInput, UnknownExperiment, UnknownModel
from service.states import State
from service.store import registry
from service.store.database import reading, writing
from service.store.registry import Resolved
from tests.store.support import MAKE, begun, fail, look, see, set_alias, succeed, transact, write


def served(database: Engine, reference: str) -> Resolved:
    return see(database, registry.resolve, reference)


def test_the_first_success_takes_the_default_alias_and_keeps_it(database: Engine) -> None:
    first = write(database, begun(database, name="first"), succeed)
    second = write(database, begun(database, name="second"), succeed)
    assert served(database, "production") == Resolved(first, "first", "production", Variant.FP32)
    assert look(database, second).state == State.SUCCEEDED


def test_a_failure_does_not_take_the_default_alias(database: Engine) -> None:
    write(database, begun(database), fail)
    later = write(database, begun(database), succeed)
    assert served(database, "production").id == later


def test_an_alias_that_was_given_away_is_not_taken_back_by_a_later_success(database: Engine) -> None:
    write(database, begun(database), succeed)
    chosen = write(database, begun(database), succeed)
    transact(database, set_alias, "production", chosen)
    write(database, begun(database), succeed)
    assert served(database, "production").id == chosen


def test_a_model_is_found_by_its_id_and_by_every_alias(database: Engine) -> None:
    experiment_id = write(database, begun(database, name="good"), succeed)
    alias = transact(database, set_alias, "canary-2_b", experiment_id)
    assert (alias.alias, alias.experiment_id) == ("canary-2_b", experiment_id)
    assert served(database, str(experiment_id)) == Resolved(experiment_id, "good", None, Variant.FP32)
    assert served(database, "canary-2_b").alias == "canary-2_b"


def test_an_alias_that_moves_is_stamped_anew(database: Engine) -> None:
    first = write(database, begun(database), succeed)
    second = write(database, begun(database), succeed)
    before = transact(database, set_alias, "canary", first).updated_at
    moved = transact(database, set_alias, "canary", second)
    assert moved.experiment_id == second
    assert moved.updated_at > before


def test_a_name_that_nothing_has_is_an_unknown_model(database: Engine) -> None:
    write(database, begun(database), succeed)
    nothing = [
        "none",
        "0",
        "7",
        "007",
        "2147483648",
        "99999999999",
        "",
        "Production",
        "prod uction",
        "é",
        "a\x00",
        "-1",
    ]
    with reading(database) as session:
        for reference in nothing:
            with pytest.raises(UnknownModel, match="no model"):
                registry.resolve(session, reference)


def test_without_any_model_the_error_says_how_to_get_one(database: Engine) -> None:
    write(database, begun(database), fail)
    with reading(database) as session, pytest.raises(UnknownModel, match="submit an experiment"):
        registry.resolve(session, "production")


@pytest.mark.parametrize("state", [state for state in State if state != State.SUCCEEDED])
def test_only_a_success_is_a_model(database: Engine, state: State) -> None:
    experiment_id = MAKE[state](database)
    with reading(database) as session, pytest.raises(UnknownModel):
        registry.resolve(session, str(experiment_id))
    with writing(database) as session, pytest.raises(Conflict, match=f"is {state} and has no model to serve"):
        set_alias(session, "canary", experiment_id)
    assert see(database, registry.models) == []


def test_an_alias_that_could_be_mistaken_is_refused(database: Engine) -> None:
    experiment_id = write(database, begun(database), succeed)
    with writing(database) as session:
        for alias in ("", "1", "9lives", "Canary", "a b", "a/b", "-a", "ä", "a" * 65, "a\n"):
            with pytest.raises(InvalidInput, match="is not an alias"):
                set_alias(session, alias, experiment_id)


def test_an_alias_for_an_unknown_experiment_is_refused(database: Engine) -> None:
    with writing(database) as session:
        for experiment_id in (0, 1, 2**31, 10**30):
            with pytest.raises(UnknownExperiment):
                set_alias(session, "canary", experiment_id)


def test_models_are_listed_newest_first_with_their_aliases(database: Engine) -> None:
    first = write(database, begun(database, name="first"), succeed)
    write(database, begun(database, name="lost"), fail)
    second = write(database, begun(database, name="second"), succeed)
    transact(database, set_alias, "canary", first)
    listed = see(database, registry.models)
    assert [(model.id, model.name, model.aliases) for model in listed] == [
        (second, "second", []),
        (first, "first", ["canary", "production"]),
    ]
    assert all(math.isclose(model.test_accuracy, 0.9903) and model.parameters == 4_738_826 for model in listed)
