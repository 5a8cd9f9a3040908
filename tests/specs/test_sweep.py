"""What sweeps can be asked for, and which field is blamed for what cannot."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.specs.sweep import SweepSpec
from service.specs.sweep_presets import GRID

BASE = {"preset": "baseline", "epochs": 2}


def sweep(**given: Any) -> SweepSpec:
    return SweepSpec.model_validate({"base": BASE} | given)


def blamed(**given: Any) -> tuple[str, str]:
    """The one field that is to blame, and what is said about it."""
    with pytest.raises(ValidationError) as caught:
        sweep(**given)
    [error] = caught.value.errors(include_url=False)
    return ".".join(str(part) for part in error["loc"]), error["msg"]


def test_the_grid_preset_is_the_notebooks() -> None:
    spec = SweepSpec.model_validate({"preset": "grid"})
    points = list(spec.grid())
    assert points == [row.params for row in GRID.published]
    assert spec.points == 8
    [first] = spec.experiments(points[0], 1)
    assert (first.batch_size, first.loss, first.epochs) == (64, "mse", 6)
    assert first.optimizer.model_dump() == {
        "name": "adam",
        "learning_rate": 0.01,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-7,
    }
    [third] = spec.experiments(points[2], 3)
    assert third.optimizer.model_dump() == {
        "name": "adagrad",
        "learning_rate": 0.01,
        "initial_accumulator_value": 0.0,
        "epsilon": 1e-7,
    }


def test_what_is_given_completes_a_presets_base() -> None:
    spec = SweepSpec.model_validate({"preset": "grid", "base": {"train_limit": 3000, "epochs": 1}, "parallel": 4})
    [first] = spec.experiments(next(spec.grid()), 1)
    assert (first.train_limit, first.epochs, first.loss, spec.parallel) == (3000, 1, "mse", 4)


def test_a_sweep_can_be_submitted_again_as_it_is_stored() -> None:
    spec = sweep(
        space={"optimizer.learning_rate": {"low": 0.1, "high": 1, "log": True}, "batch_size": [32, 64]},
        sampler="tpe",
        pruner="median",
        tags=["x"],
    )
    assert SweepSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_paths_lead_into_lists_and_objects() -> None:
    spec = sweep(
        space={
            "optimizer": [{"name": "adam"}, {"name": "sgd"}],
            "optimizer.learning_rate": [0.5],
            "model.layers.0.filters": [4, 8],
            "model.layers.0.kernel_size.1": [5],
        }
    )
    specs = [spec.experiments(point, 1)[0] for point in spec.grid()]
    assert [each.optimizer.name for each in specs] == ["adam", "adam", "sgd", "sgd"]
    assert {each.optimizer.learning_rate for each in specs} == {0.5}
    layers = [each.model.layers[0].model_dump() for each in specs]
    assert [(layer["filters"], layer["kernel_size"]) for layer in layers] == [(4, (3, 5)), (8, (3, 5))] * 2
    # The preset itself has not been touched.
    assert sweep(space={"epochs": [1]}).experiments({"epochs": 1}, 1)[0].model.layers[0].model_dump()["filters"] == 32


def test_seeds_follow_the_bases() -> None:
    spec = sweep(base=BASE | {"seed": 7, "tags": ["base"]}, space={"batch_size": [32]}, seeds=3, tags=["sweep"])
    specs = spec.experiments({"batch_size": 32}, 5)
    assert [each.seed for each in specs] == [7, 8, 9]
    assert {each.name for each in specs} == {"sweep, trial 5"}
    assert specs[0].tags == ["sweep", "base"]


SPACE = {"batch_size": [32]}
RANGE = {"optimizer.learning_rate": {"low": 0.001, "high": 0.1}}

REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "an empty space": ({"space": {}}, "space", "at least 1 item"),
    "a list without values": ({"space": {"batch_size": []}}, "space.batch_size", "no value"),
    "an unknown field": ({"space": {"optimizer.lr": [1.0]}}, "space.optimizer.lr", "no such field"),
    "an unknown object": ({"space": {"foo.bar": [1]}}, "space.foo.bar", "no such field"),
    "a layer that is not there": (
        {"space": {"model.layers.99.filters": [8]}},
        "space.model.layers.99.filters",
        "no such field",
    ),
    "a layer that is no number": (
        {"space": {"model.layers.x.filters": [8]}},
        "space.model.layers.x.filters",
        "no such field",
    ),
    "a path through a number": ({"space": {"batch_size.x": [3]}}, "space.batch_size.x", "integer"),
    "a value of the wrong kind": ({"space": {"batch_size": [32, "many"]}}, "space.batch_size", "integer"),
    "an impossible value": ({"space": {"batch_size": [32, 0]}}, "space.batch_size", "greater than or equal to 1"),
    "a name": ({"space": {"name": ["a", "b"]}}, "space.name", "decides nothing"),
    "a million points": (
        {"space": {"batch_size": list(range(1, 1001)), "epochs": list(range(1, 1001))}},
        "space",
        "1,000,000",
    ),
    "too many trials": ({"space": RANGE, "sampler": "random", "trials": 1001}, "trials", "1,001"),
    "too many seeds": ({"space": {"batch_size": list(range(1, 102))}, "seeds": 10}, "space", "1,010"),
    "a range upside down": (
        {"space": {"batch_size": {"low": 9, "high": 3}}, "sampler": "random"},
        "space.batch_size.int.low",
        "larger than high",
    ),
    "a logarithm of 0": (
        {"space": {"optimizer.learning_rate": {"low": 0.0, "high": 1, "log": True}}, "sampler": "random"},
        "space.optimizer.learning_rate.float.low",
        "above 0",
    ),
    "a range in a grid": ({"space": RANGE}, "space.optimizer.learning_rate", "a grid needs lists"),
    "a range's end that is impossible": (
        {"space": {"optimizer.learning_rate": {"low": 0.1, "high": 5000.0}}, "sampler": "random"},
        "space.optimizer.learning_rate",
        "less than or equal to 1000",
    ),
    "what is neither list nor range": ({"space": {"batch_size": 32}}, "space.batch_size", "a list of values"),
    "a base that is impossible": ({"base": BASE | {"epochs": "x"}, "space": SPACE}, "base.epochs", "integer"),
    "a base without a model": ({"base": {}, "space": SPACE}, "base.model", "required"),
    "nothing to watch": (
        {"base": BASE | {"validation": {"on": "none"}}, "space": SPACE},
        "base",
        "needs a validation metric",
    ),
    "an unknown preset": ({"preset": "nothing", "space": SPACE}, "preset", "there are: grid"),
    "an unknown sampler": ({"space": SPACE, "sampler": "guess"}, "sampler", "'grid', 'random' or 'tpe'"),
    "an unknown field of the sweep": ({"space": SPACE, "trails": 3}, "trails", "not permitted"),
    "seeds that are varied": ({"space": {"seed": [1, 2]}, "seeds": 2}, "seeds", "already"),
    "a seed that is too large": ({"base": BASE | {"seed": 2**31 - 1}, "space": SPACE, "seeds": 2}, "seeds", "larger"),
    "a pruner of several curves": ({"space": SPACE, "seeds": 2, "pruner": "median"}, "pruner", "several seeds"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case: str) -> None:
    given, field, message = REFUSED[case]
    found, said = blamed(**given)
    assert found == field
    assert message in said
