"""Presets, and how a request that names one is completed from it."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.specs.experiment import ExperimentSpec
from service.specs.presets import PRESETS

ADADELTA = {"name": "adadelta", "learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-7}


def baseline(**given: Any) -> dict[str, Any]:
    """All fields of a request that names the baseline and gives this."""
    return ExperimentSpec.model_validate({"preset": "baseline"} | given).model_dump(mode="json")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_possible_and_named_after_itself(name: str) -> None:
    spec = ExperimentSpec.model_validate({"preset": name})
    assert (spec.preset, spec.name) == (name, name)
    assert PRESETS[name].name == name


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_what_a_client_could_have_sent_itself(name: str) -> None:
    spelt_out = ExperimentSpec.model_validate(PRESETS[name].spec | {"name": name})
    assert spelt_out == ExperimentSpec.model_validate({"preset": name}).model_copy(update={"preset": None})


def test_the_baseline_is_the_notebook_s_first_model() -> None:
    spec = ExperimentSpec.model_validate({"preset": "baseline"})
    assert [layer.type for layer in spec.model.layers] == [
        "conv2d",
        "conv2d",
        "dropout",
        "flatten",
        "dense",
        "dropout",
    ]
    assert spec.model.parameters == 4_738_826
    assert spec.optimizer.model_dump() == ADADELTA
    assert (spec.dataset, spec.loss, spec.batch_size, spec.epochs) == ("mnist", "categorical_crossentropy", 128, 6)
    assert spec.validation.on == "test"


def test_what_is_given_takes_the_place_of_the_preset_s() -> None:
    given = {"name": "quick look", "epochs": 2, "train_limit": 5000, "tags": ["a"], "loss": "mse", "batch_size": 64}
    assert baseline(**given) == baseline() | given


def test_a_model_that_is_given_replaces_the_preset_s() -> None:
    layers = [{"type": "flatten"}]
    assert baseline(model={"layers": layers})["model"] == {"layers": layers}


@pytest.mark.parametrize(
    ("given", "optimizer"),
    [
        ({"learning_rate": 0.5}, ADADELTA | {"learning_rate": 0.5}),
        ({"name": "adadelta", "rho": 0.9}, ADADELTA | {"rho": 0.9}),
        ({}, ADADELTA),
        ({"name": "adam"}, {"name": "adam", "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        ({"name": "sgd", "momentum": 0.9}, {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9, "nesterov": False}),
    ],
)
def test_an_optimizer_is_completed_as_long_as_it_is_the_preset_s_kind(
    given: dict[str, Any], optimizer: dict[str, Any]
) -> None:
    assert baseline(optimizer=given) == baseline() | {"optimizer": optimizer}


@pytest.mark.parametrize(
    ("given", "validation"),
    [
        ({}, {"on": "test"}),
        ({"on": "none"}, {"on": "none"}),
        ({"on": "split"}, {"on": "split", "fraction": 0.1}),
        ({"on": "split", "fraction": 0.2}, {"on": "split", "fraction": 0.2}),
    ],
)
def test_validation_is_completed_as_long_as_it_is_the_preset_s_kind(
    given: dict[str, Any], validation: dict[str, Any]
) -> None:
    assert baseline(validation=given)["validation"] == validation


@pytest.mark.parametrize(
    ("given", "blamed"),
    [
        ({"optimizer": {"momentum": 0.9}}, ("optimizer", "adadelta", "momentum")),
        ({"optimizer": {"name": "lion"}}, ("optimizer",)),
        ({"optimizer": None}, ("optimizer",)),
        ({"validation": {"fraction": 0.1}}, ("validation", "test", "fraction")),
        ({"model": {}, "epochs": 0}, ("epochs",)),
        ({"name": None}, ("name",)),
        ({"epoch": 1}, ("epoch",)),
    ],
)
def test_what_cannot_complete_the_preset_is_refused(given: dict[str, Any], blamed: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        baseline(**given)
    assert [error["loc"] for error in caught.value.errors()] == [blamed]


@pytest.mark.parametrize("name", ["", "Baseline", "baseline ", "no such {preset}"])
def test_an_unknown_preset_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ExperimentSpec.model_validate({"preset": name, "epochs": 2})
    (error,) = caught.value.errors()
    assert error["loc"] == ("preset",)
    assert error["input"] == name
    assert all(known in error["msg"] for known in PRESETS)


def test_a_request_is_not_changed_by_being_completed() -> None:
    request = {"preset": "baseline", "optimizer": {"learning_rate": 0.5}}
    ExperimentSpec.model_validate(request)
    assert request == {"preset": "baseline", "optimizer": {"learning_rate": 0.5}}
    assert baseline()["optimizer"] == ADADELTA
