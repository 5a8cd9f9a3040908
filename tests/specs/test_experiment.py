"""What can be asked for, and which field is blamed for what cannot."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.specs.experiment import MAX_ACTIVATIONS, MAX_LAYERS, MAX_PARAMETERS, ExperimentSpec, ModelSpec

FLATTEN = {"type": "flatten"}
CONV = {"type": "conv2d", "filters": 8}


def spec(**given: Any) -> ExperimentSpec:
    """The smallest spec there is, with what is given."""
    return ExperimentSpec.model_validate({"model": {"layers": [FLATTEN]}} | given)


def model(*layers: dict[str, Any]) -> ModelSpec:
    return spec(model={"layers": list(layers)}).model


def refused(given: Any) -> dict[tuple[str | int, ...], str]:
    """The fields that are blamed, each with what is said about it."""
    with pytest.raises(ValidationError) as caught:
        ExperimentSpec.model_validate(given)
    return {error["loc"]: error["msg"] for error in caught.value.errors(include_url=False)}


def refused_field(**given: Any) -> tuple[tuple[str | int, ...], str]:
    """The one field that is blamed in the smallest spec with what is given, and what is said about it."""
    ((field, message),) = refused({"model": {"layers": [FLATTEN]}} | given).items()
    return field, message


def refused_layer(*layers: dict[str, Any]) -> tuple[tuple[str | int, ...], str]:
    """Where in the list of layers the one fault is, and what is said about it."""
    field, message = refused_field(model={"layers": list(layers)})
    assert field[:2] == ("model", "layers")
    return field[2:], message


# What is not given


def test_only_the_model_is_required() -> None:
    assert list(refused({})) == [("model",)]
    assert spec().model_dump(mode="json") == {
        "preset": None,
        "name": "experiment",
        "tags": [],
        "priority": 0,
        "max_attempts": 3,
        "dataset": "mnist",
        "train_limit": None,
        "rescale": 1 / 255,
        "model": {"layers": [FLATTEN]},
        "optimizer": {"name": "adadelta", "learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-7},
        "schedule": None,
        "loss": "categorical_crossentropy",
        "label_smoothing": 0.0,
        "batch_size": 128,
        "epochs": 6,
        "seed": 0,
        "validation": {"on": "split", "fraction": 0.1},
        "early_stopping": None,
        "augmentation": None,
        "precision": "float32",
        "int8": False,
    }


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("adadelta", {"learning_rate": 1.0, "rho": 0.95, "epsilon": 1e-7}),
        ("adagrad", {"learning_rate": 0.01, "initial_accumulator_value": 0.0, "epsilon": 1e-7}),
        ("adam", {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        ("rmsprop", {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7}),
        ("sgd", {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False}),
    ],
)
def test_every_optimizer_parameter_is_written_out_with_keras_2_s_default(name: str, defaults: dict[str, Any]) -> None:
    assert spec(optimizer={"name": name}).optimizer.model_dump() == {"name": name} | defaults


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("cosine", {"warmup_epochs": 0.0, "final_fraction": 0.0}),
        ("one_cycle", {"warmup_fraction": 0.3, "start_fraction": 0.04, "final_fraction": 0.0}),
    ],
)
def test_every_schedule_has_its_defaults(name: str, defaults: dict[str, Any]) -> None:
    schedule = spec(schedule={"name": name}).schedule
    assert schedule is not None
    assert schedule.model_dump() == {"name": name} | defaults


def test_elastic_distortions_are_the_paper_s_where_nothing_is_said() -> None:
    augmentation = {"shift": 0.0, "rotation": 0.0, "zoom": 0.0, "elastic": {"alpha": 34.0, "sigma": 4.0}}
    assert spec(augmentation={"elastic": {}}).model_dump()["augmentation"] == augmentation


LATER_FIELDS = ("schedule", "label_smoothing")


def test_a_spec_that_was_stored_before_there_were_schedules_can_be_read() -> None:
    """Its training is what it was: the rate stays, labels are not smoothed, strokes are not bent."""
    stored = spec(augmentation={"shift": 0.1}).model_dump(mode="json")
    old = {field: value for field, value in stored.items() if field not in LATER_FIELDS}
    old["augmentation"] = {"shift": 0.1, "rotation": 0.0, "zoom": 0.0}
    assert ExperimentSpec.model_validate(old).model_dump(mode="json") == stored


# What is given


def test_names_and_tags_are_stripped_and_tags_kept_once_in_order() -> None:
    asked = spec(name="  my digits\n", tags=["b", " a ", "b", "a"])
    assert (asked.name, asked.tags) == ("my digits", ["b", "a"])


def test_whole_numbers_serve_as_fractions() -> None:
    assert spec(rescale=1).rescale == 1.0
    assert spec(optimizer={"name": "sgd", "learning_rate": 1}).optimizer.learning_rate == 1.0


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        spec().epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "n" * 200),
        ("tags", ["t" * 64] * 20),
        ("priority", -1000),
        ("priority", 1000),
        ("train_limit", 10),
        ("batch_size", 1),
        ("batch_size", 16384),
        ("epochs", 10_000),
        ("seed", 2**31 - 1),
        ("rescale", 1.0),
        ("validation", {"on": "none"}),
        ("validation", {"on": "test"}),
        ("early_stopping", {}),
        ("augmentation", {"shift": 0.5, "rotation": 180, "zoom": 0.99, "elastic": {"alpha": 1000, "sigma": 0.5}}),
        ("schedule", {"name": "cosine", "warmup_epochs": 6, "final_fraction": 1}),
        ("schedule", {"name": "one_cycle", "warmup_fraction": 0, "start_fraction": 0, "final_fraction": 1}),
        ("label_smoothing", 0.99),
        ("precision", "mixed_bfloat16"),
        ("loss", "mse"),
    ],
)
def test_what_is_just_possible_is_accepted(field: str, value: Any) -> None:
    spec(**{field: value})


# What is refused


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "   "),
        ("name", "n" * 201),
        ("name", 7),
        ("name", None),
        ("name", "a\x00b"),
        ("name", "a\nb"),
        ("name", "a\x1b[31mb"),
        ("name", "a\x7fb"),
        ("name", "\ud800"),
        ("tags", "red"),
        ("tags", [f"t{number}" for number in range(21)]),
        ("priority", 1001),
        ("priority", -1001),
        ("priority", 1.0),
        ("priority", True),
        ("dataset", ""),
        ("dataset", "d" * 65),
        ("dataset", None),
        ("train_limit", 9),
        ("train_limit", 100.5),
        ("rescale", 0),
        ("rescale", 1.5),
        ("rescale", math.nan),
        ("rescale", "0.5"),
        ("rescale", True),
        ("model", None),
        ("model", []),
        ("optimizer", None),
        ("optimizer", "adam"),
        ("loss", "mean_absolute_error"),
        ("loss", "MSE"),
        ("schedule", "cosine"),
        ("schedule", []),
        ("label_smoothing", -0.1),
        ("label_smoothing", 1),
        ("label_smoothing", None),
        ("label_smoothing", "0.1"),
        ("batch_size", 0),
        ("batch_size", 16385),
        ("batch_size", "128"),
        ("batch_size", 128.0),
        ("batch_size", True),
        ("batch_size", None),
        ("epochs", 0),
        ("epochs", 10_001),
        ("epochs", "6"),
        ("epochs", False),
        ("seed", -1),
        ("seed", 2**31),
        ("seed", 10**30),
        ("validation", None),
        ("validation", "test"),
        ("precision", "float16"),
        ("preset", 1),
        ("epoch", 3),
        ("Epochs", 3),
        ("__class__", "x"),
    ],
)
def test_a_bad_value_is_refused_and_its_field_named(field: str, value: Any) -> None:
    assert refused_field(**{field: value})[0] == (field,)


@pytest.mark.parametrize(
    ("field", "value", "blamed"),
    [
        ("tags", ["ok", ""], ("tags", 1)),
        ("tags", ["ok", "a\x00"], ("tags", 1)),
        ("tags", ["t" * 65], ("tags", 0)),
        ("model", {}, ("model", "layers")),
        ("model", {"layers": []}, ("model", "layers")),
        ("model", {"layers": [FLATTEN], "input": 1}, ("model", "input")),
        ("optimizer", {}, ("optimizer",)),
        ("optimizer", {"name": "lion"}, ("optimizer",)),
        ("optimizer", {"learning_rate": 0.1}, ("optimizer",)),
        ("optimizer", {"name": "adam", "rho": 0.9}, ("optimizer", "adam", "rho")),
        ("optimizer", {"name": "adam", "learning_rate": 0}, ("optimizer", "adam", "learning_rate")),
        ("optimizer", {"name": "adam", "learning_rate": "0.1"}, ("optimizer", "adam", "learning_rate")),
        ("optimizer", {"name": "adam", "learning_rate": math.inf}, ("optimizer", "adam", "learning_rate")),
        ("optimizer", {"name": "adam", "learning_rate": math.nan}, ("optimizer", "adam", "learning_rate")),
        ("optimizer", {"name": "adam", "beta_1": 1}, ("optimizer", "adam", "beta_1")),
        ("optimizer", {"name": "adam", "epsilon": 0}, ("optimizer", "adam", "epsilon")),
        ("optimizer", {"name": "adagrad", "initial_accumulator_value": -1},
         ("optimizer", "adagrad", "initial_accumulator_value")),
        ("optimizer", {"name": "sgd", "nesterov": 1}, ("optimizer", "sgd", "nesterov")),
        ("validation", {"on": "train"}, ("validation",)),
        ("validation", {"on": "split", "fraction": 0}, ("validation", "split", "fraction")),
        ("validation", {"on": "split", "fraction": 1}, ("validation", "split", "fraction")),
        ("validation", {"on": "test", "fraction": 0.1}, ("validation", "test", "fraction")),
        ("early_stopping", {"patience": 0}, ("early_stopping", "patience")),
        ("early_stopping", {"monitor": "loss"}, ("early_stopping", "monitor")),
        ("early_stopping", {"min_delta": -0.1}, ("early_stopping", "min_delta")),
        ("early_stopping", {"restore_best": "yes"}, ("early_stopping", "restore_best")),
        ("augmentation", {"shift": 0.6}, ("augmentation", "shift")),
        ("augmentation", {"rotation": 181}, ("augmentation", "rotation")),
        ("augmentation", {"zoom": 1}, ("augmentation", "zoom")),
        ("augmentation", {"flip": True}, ("augmentation", "flip")),
        ("augmentation", {"elastic": True}, ("augmentation", "elastic")),
        ("augmentation", {"elastic": {"alpha": 0}}, ("augmentation", "elastic", "alpha")),
        ("augmentation", {"elastic": {"sigma": 29}}, ("augmentation", "elastic", "sigma")),
        ("schedule", {}, ("schedule",)),
        ("schedule", {"name": "step"}, ("schedule",)),
        ("schedule", {"name": "cosine", "warmup_epochs": -1}, ("schedule", "cosine", "warmup_epochs")),
        ("schedule", {"name": "cosine", "warmup_epochs": 6.5}, ("schedule", "cosine", "warmup_epochs")),
        ("schedule", {"name": "cosine", "final_fraction": 1.1}, ("schedule", "cosine", "final_fraction")),
        ("schedule", {"name": "cosine", "warmup_fraction": 0.1}, ("schedule", "cosine", "warmup_fraction")),
        ("schedule", {"name": "one_cycle", "warmup_fraction": 1}, ("schedule", "one_cycle", "warmup_fraction")),
        ("schedule", {"name": "one_cycle", "start_fraction": -1}, ("schedule", "one_cycle", "start_fraction")),
    ],
)  # fmt: skip
def test_a_bad_value_inside_an_object_is_refused_and_its_field_named(
    field: str, value: Any, blamed: tuple[str | int, ...]
) -> None:
    assert refused_field(**{field: value})[0] == blamed


def test_every_fault_is_told_at_once() -> None:
    faults = refused({"model": {"layers": [{"type": "conv2d"}, FLATTEN]}, "epochs": 0, "seeds": 1})
    assert set(faults) == {("model", "layers", 0, "conv2d", "filters"), ("epochs",), ("seeds",)}


@pytest.mark.parametrize("given", [None, [], "baseline", 1, [["preset", "baseline"]]])
def test_what_is_no_object_is_refused(given: Any) -> None:
    assert list(refused(given)) == [()]


def test_early_stopping_needs_something_to_watch() -> None:
    field, message = refused_field(early_stopping={}, validation={"on": "none"})
    assert field == ("early_stopping",)
    assert "validation" in message


def test_labels_are_smoothed_for_a_cross_entropy_only() -> None:
    field, message = refused_field(label_smoothing=0.1, loss="mse")
    assert field == ("label_smoothing",)
    assert "categorical_crossentropy" in message
    assert spec(label_smoothing=0, loss="mse").label_smoothing == 0


# Layers


@pytest.mark.parametrize(
    ("layer", "blamed"),
    [
        ({}, ()),
        ({"type": "lambda"}, ()),
        ({"type": "Dense", "units": 1}, ()),
        ({"class_name": "Dense", "config": {"units": 1}}, ()),
        ("flatten", ()),
        ({"type": "flatten", "data_format": "channels_last"}, ("flatten", "data_format")),
        ({"type": "conv2d"}, ("conv2d", "filters")),
        (CONV | {"filters": 0}, ("conv2d", "filters")),
        (CONV | {"filters": 8.0}, ("conv2d", "filters")),
        (CONV | {"filters": "8"}, ("conv2d", "filters")),
        (CONV | {"filters": True}, ("conv2d", "filters")),
        (CONV | {"kernel_size": 3}, ("conv2d", "kernel_size")),
        (CONV | {"kernel_size": "33"}, ("conv2d", "kernel_size")),
        (CONV | {"kernel_size": [3, 3, 3]}, ("conv2d", "kernel_size")),
        (CONV | {"kernel_size": [3]}, ("conv2d", "kernel_size", 1)),
        (CONV | {"kernel_size": [3, 0]}, ("conv2d", "kernel_size", 1)),
        (CONV | {"kernel_size": [513, 3]}, ("conv2d", "kernel_size", 0)),
        (CONV | {"kernel_size": ["3", 3]}, ("conv2d", "kernel_size", 0)),
        (CONV | {"kernel_size": [3, 3.0]}, ("conv2d", "kernel_size", 1)),
        (CONV | {"strides": None}, ("conv2d", "strides")),
        (CONV | {"padding": "causal"}, ("conv2d", "padding")),
        (CONV | {"activation": "softmax"}, ("conv2d", "activation")),
        (CONV | {"activation": None}, ("conv2d", "activation")),
        (CONV | {"use_bias": 1}, ("conv2d", "use_bias")),
        (CONV | {"kernel_initializer": "zeros"}, ("conv2d", "kernel_initializer")),
        ({"type": "dropout"}, ("dropout", "rate")),
        ({"type": "dropout", "rate": 1}, ("dropout", "rate")),
        ({"type": "dropout", "rate": -0.1}, ("dropout", "rate")),
        ({"type": "dropout", "rate": math.nan}, ("dropout", "rate")),
        ({"type": "batch_normalization", "momentum": 1}, ("batch_normalization", "momentum")),
        ({"type": "batch_normalization", "epsilon": 0}, ("batch_normalization", "epsilon")),
        ({"type": "activation"}, ("activation", "activation")),
    ],
)
def test_a_bad_layer_is_refused_and_its_place_named(layer: Any, blamed: tuple[str | int, ...]) -> None:
    assert refused_layer(FLATTEN, layer)[0] == (1, *blamed)


@pytest.mark.parametrize(
    ("layers", "blamed", "reason"),
    [
        ([CONV], (0,), "flatten, dense or global_average_pooling2d"),
        ([FLATTEN, CONV], (1,), "conv2d layer takes a map"),
        ([FLATTEN, {"type": "max_pooling2d"}], (1,), "max_pooling2d layer takes a map"),
        ([FLATTEN, {"type": "average_pooling2d"}], (1,), "average_pooling2d layer takes a map"),
        ([FLATTEN, {"type": "global_average_pooling2d"}], (1,), "global_average_pooling2d layer takes a map"),
        ([CONV, {"type": "dense", "units": 5}], (1,), "a dense layer takes a vector, but gets a 26×26×8 map"),
        ([CONV | {"kernel_size": [29, 1]}, FLATTEN], (0, "kernel_size"), "29×1 is larger than the layer's 28×28 input"),
        ([CONV | {"kernel_size": [1, 29]}, FLATTEN], (0, "kernel_size"), "1×29 is larger"),
        ([{"type": "max_pooling2d", "pool_size": [14, 14]}, {"type": "max_pooling2d", "pool_size": [3, 2]}, FLATTEN],
         (1, "pool_size"), "3×2 is larger than the layer's 2×2 input"),
    ],
)  # fmt: skip
def test_a_layer_that_cannot_follow_the_one_before_is_refused(
    layers: list[dict[str, Any]], blamed: tuple[str | int, ...], reason: str
) -> None:
    field, message = refused_layer(*layers)
    assert field == blamed
    assert reason in message


def test_a_window_larger_than_its_input_is_possible_with_padding() -> None:
    model(CONV | {"kernel_size": [29, 29], "padding": "same"}, FLATTEN)


# Limits


def test_a_model_has_at_most_so_many_layers() -> None:
    model(*[FLATTEN] * MAX_LAYERS)
    field, _ = refused_field(model={"layers": [FLATTEN] * (MAX_LAYERS + 1)})
    assert field == ("model", "layers")


def test_a_model_has_at_most_so_many_parameters() -> None:
    units = MAX_PARAMETERS // 795
    dense = {"type": "dense", "units": units}
    assert MAX_PARAMETERS - 1000 < model(FLATTEN, dense).parameters <= MAX_PARAMETERS

    # One unit more, and it is the service's own softmax layer that does not fit any more.
    field, message = refused_field(model={"layers": [FLATTEN, dense | {"units": units + 1}]})
    assert field == ("model", "layers")
    assert f"{MAX_PARAMETERS:,}" in message


def test_the_layer_that_goes_beyond_the_parameters_is_named() -> None:
    field, message = refused_layer(FLATTEN, {"type": "dense", "units": 10}, {"type": "dense", "units": 10**9})
    assert field == (2,)
    assert "11,000,007,850 parameters" in message


def test_a_model_puts_out_at_most_so_many_numbers_an_image() -> None:
    wide = CONV | {"filters": 8192, "kernel_size": [1, 1]}
    same = {"type": "dropout", "rate": 0.1}
    assert 3 * 28 * 28 * 8192 < MAX_ACTIVATIONS < 4 * 28 * 28 * 8192
    pool = {"type": "global_average_pooling2d"}
    model(wide, same, same, pool)
    field, message = refused_layer(wide, same, same, same, pool)
    assert field == (3,)
    assert f"{MAX_ACTIVATIONS:,}" in message


# There and back

extents = st.integers(1, 5)
pairs = st.lists(extents, min_size=2, max_size=2)
activations = st.sampled_from(["linear", "relu", "gelu", "tanh"])
fractions = st.floats(0, 0.99)
map_layers = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("conv2d"), "filters": st.integers(1, 64)},
        optional={"kernel_size": pairs, "strides": pairs, "activation": activations, "use_bias": st.booleans()},
    ).map(lambda layer: layer | {"padding": "same"}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["max_pooling2d", "average_pooling2d"]), "padding": st.just("same")},
        optional={"pool_size": pairs, "strides": st.none() | pairs},
    ),
    st.fixed_dictionaries({"type": st.just("dropout"), "rate": fractions}),
    st.fixed_dictionaries({"type": st.just("batch_normalization")}, optional={"momentum": fractions}),
)
stacks = st.builds(
    lambda maps, bridge, units: [*maps, {"type": bridge}, *({"type": "dense", "units": unit} for unit in units)],
    st.lists(map_layers, max_size=4),
    st.sampled_from(["flatten", "global_average_pooling2d"]),
    st.lists(st.integers(1, 300), max_size=2),
)
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20).filter(str.strip)
requests = st.fixed_dictionaries(
    {"model": st.fixed_dictionaries({"layers": stacks})},
    optional={
        "preset": st.none() | st.just("baseline"),
        "name": texts,
        "tags": st.lists(texts, max_size=4),
        "priority": st.integers(-1000, 1000),
        "train_limit": st.none() | st.integers(10, 60_000),
        "rescale": st.floats(1e-6, 1),
        "optimizer": st.fixed_dictionaries(
            {"name": st.sampled_from(["adadelta", "adagrad", "adam", "rmsprop", "sgd"])},
            optional={"learning_rate": st.floats(1e-12, 1000)},
        ),
        "batch_size": st.integers(1, 16384),
        "epochs": st.integers(1, 10_000),
        "schedule": st.none()
        | st.fixed_dictionaries({"name": st.just("cosine")}, optional={"warmup_epochs": st.floats(0, 1)})
        | st.fixed_dictionaries({"name": st.just("one_cycle")}, optional={"warmup_fraction": fractions}),
        "label_smoothing": fractions,
        "seed": st.integers(0, 2**31 - 1),
        "validation": st.sampled_from([{"on": "test"}, {"on": "split"}, {"on": "split", "fraction": 0.25}]),
        "early_stopping": st.none() | st.fixed_dictionaries({}, optional={"patience": st.integers(1, 1000)}),
        "augmentation": st.none() | st.fixed_dictionaries({}, optional={"zoom": fractions}),
    },
)


@given(requests)
def test_a_resolved_spec_asks_for_itself_again(request: dict[str, Any]) -> None:
    resolved = ExperimentSpec.model_validate(request)
    document = resolved.model_dump(mode="json")
    assert ExperimentSpec.model_validate(json.loads(json.dumps(document, allow_nan=False))) == resolved
    assert ExperimentSpec.model_validate_json(resolved.model_dump_json()) == resolved


@given(requests)
def test_what_was_asked_for_is_in_the_resolved_spec(request: dict[str, Any]) -> None:
    document = ExperimentSpec.model_validate(request).model_dump(mode="json")
    for field in request.keys() - {
        "name",
        "tags",
        "model",
        "optimizer",
        "validation",
        "early_stopping",
        "augmentation",
        "schedule",
    }:
        assert document[field] == request[field]
    for layer, wanted in zip(document["model"]["layers"], request["model"]["layers"], strict=True):
        assert layer.items() >= wanted.items()
