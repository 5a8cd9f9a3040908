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


CONVOLUTIONS = ["conv2d 32", "conv2d 64"]
REST = ["dropout 0.25", "flatten", "dense 128", "dropout 0.5"]
NORMALISED = [
    "conv2d 32",
    "batch_normalization",
    "conv2d 64",
    "batch_normalization",
    "dropout 0.25",
    "flatten",
    "dense 128",
    "batch_normalization",
    "dropout 0.5",
]
ADAM = {"name": "adam", "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
TWICE = 1 / 65_025
"""Pixels divided by 255, and once more."""

NOTEBOOK: dict[str, tuple[list[str], dict[str, Any], float, dict[str, float] | None]] = {
    "baseline": (CONVOLUTIONS + REST, ADADELTA, 1 / 255, {"test_accuracy": 0.9903, "test_loss": 0.0277}),
    # The notebook printed the baseline's score in its place.
    "batch-norm": (NORMALISED, ADADELTA, 1 / 255, None),
    "image-norm": (CONVOLUTIONS + REST, ADAM, TWICE, {"test_accuracy": 0.954}),
    "image-batch-norm": (NORMALISED, ADADELTA, TWICE, {"test_accuracy": 0.889}),
    "extra-conv": ([*CONVOLUTIONS, "conv2d 32", *REST], ADADELTA, 1 / 255, {"test_accuracy": 0.9911}),
}


@pytest.mark.parametrize("name", NOTEBOOK)
def test_the_notebook_s_models_differ_by_what_they_did(name: str) -> None:
    layers, optimizer, rescale, published = NOTEBOOK[name]
    spec = ExperimentSpec.model_validate({"preset": name}).model_dump(mode="json")
    assert [named(layer) for layer in spec["model"]["layers"]] == layers
    assert (spec["optimizer"], PRESETS[name].published) == (optimizer, published)
    assert spec["rescale"] == pytest.approx(rescale, rel=1e-12)
    # In all else they are the baseline.
    shared = spec.keys() - {"preset", "name", "model", "optimizer", "rescale"}
    assert {field: spec[field] for field in shared} == {field: baseline()[field] for field in shared}


def named(layer: dict[str, Any]) -> str:
    """A layer's type and its one number; all convolutions are 3×3 and all sums go through relu."""
    match layer["type"]:
        case "conv2d":
            assert (layer["kernel_size"], layer["strides"], layer["padding"]) == ([3, 3], [1, 1], "valid")
            assert (layer["activation"], layer["use_bias"]) == ("relu", True)
            return f"conv2d {layer['filters']}"
        case "dense":
            assert (layer["activation"], layer["use_bias"]) == ("relu", True)
            return f"dense {layer['units']}"
        case "dropout":
            return f"dropout {layer['rate']}"
        case "batch_normalization":
            # The same defaults in Keras 2.3 and Keras 3.
            assert (layer["momentum"], layer["epsilon"]) == (0.99, 1e-3)
    return str(layer["type"])


def test_it_is_said_where_the_notebook_misled() -> None:
    assert "never shown" in PRESETS["batch-norm"].summary
    assert all("twice" in PRESETS[name].summary for name in ("image-norm", "image-batch-norm"))


@pytest.mark.parametrize("name", ["fast", "best"])
def test_what_is_not_the_notebook_s_has_no_published_figures(name: str) -> None:
    assert PRESETS[name].published is None
    assert ExperimentSpec.model_validate({"preset": name}).validation.on != "test"


def test_a_schedule_is_completed_as_long_as_it_is_the_preset_s_kind() -> None:
    fast = ExperimentSpec.model_validate({"preset": "fast"}).model_dump()["schedule"]
    quicker = ExperimentSpec.model_validate({"preset": "fast", "schedule": {"warmup_fraction": 0.5}})
    assert quicker.model_dump()["schedule"] == fast | {"warmup_fraction": 0.5}
    other = ExperimentSpec.model_validate({"preset": "fast", "schedule": {"name": "cosine"}})
    assert other.model_dump()["schedule"] == {"name": "cosine", "warmup_epochs": 0.0, "final_fraction": 0.0}
    assert ExperimentSpec.model_validate({"preset": "fast", "schedule": None}).schedule is None


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
