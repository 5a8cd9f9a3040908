"""The arithmetic of shapes and parameters: it must be Keras's."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.specs.experiment import ExperimentSpec
from service.specs.layers import AveragePooling2D, Conv2D, MaxPooling2D
from service.specs.shapes import ImpossibleLayer, after, classifier, sizes

CONV = {"type": "conv2d", "filters": 4}
NORM = {"type": "batch_normalization"}
FLATTEN = {"type": "flatten"}
POOL = {"type": "max_pooling2d"}
MEAN = {"type": "average_pooling2d"}
GLOBAL = {"type": "global_average_pooling2d"}
DENSE = {"type": "dense", "units": 16}

STACKS: dict[str, list[dict[str, Any]]] = {
    "nothing but the classifier": [FLATTEN],
    "windows that do not fit evenly": [
        CONV | {"kernel_size": [5, 3], "strides": [3, 2]},
        POOL | {"pool_size": [3, 2]},
        FLATTEN,
    ],
    "padding": [
        CONV | {"kernel_size": [4, 7], "strides": [3, 5], "padding": "same"},
        MEAN | {"pool_size": [3, 4], "padding": "same"},
        FLATTEN,
    ],
    "windows larger than their input": [
        CONV | {"strides": [9, 9]},
        CONV | {"kernel_size": [7, 7], "padding": "same"},
        POOL | {"pool_size": [9, 9], "padding": "same"},
        GLOBAL,
    ],
    "windows as large as their input": [CONV | {"kernel_size": [28, 28]}, FLATTEN],
    "strides unlike the pool": [
        POOL | {"pool_size": [2, 3], "strides": [1, 5]},
        MEAN | {"pool_size": [5, 2], "strides": [4, 1]},
        MEAN | {"pool_size": [2, 2], "strides": [5, 5], "padding": "same"},
        FLATTEN,
    ],
    "without biases": [CONV | {"use_bias": False}, CONV, FLATTEN, DENSE | {"use_bias": False}, DENSE],
    "normalisation of maps and of vectors": [CONV, NORM, FLATTEN, NORM, DENSE, NORM],
    "layers without a shape of their own": [
        CONV,
        {"type": "activation", "activation": "gelu"},
        {"type": "dropout", "rate": 0.5},
        GLOBAL,
        {"type": "dropout", "rate": 0.5},
        FLATTEN,
        {"type": "activation", "activation": "leaky_relu"},
        DENSE,
    ],
}


@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
def test_shapes_and_parameters_are_those_of_the_keras_model(layers: list[dict[str, Any]]) -> None:
    # Keras takes 10 s to import: only this test pays for it.
    from service.train.models import build

    spec = ExperimentSpec.model_validate({"model": {"layers": layers}})
    model = build(spec)
    scaling, *built, softmax = model.layers

    assert scaling.output.shape[1:] == (28, 28, 1)
    expected = [(layer.output.shape[1:], layer.count_params()) for layer in built]
    stack = sizes(spec.model.layers)
    assert [tuple(size) for size in stack] == expected
    assert classifier(stack[-1].shape) == (softmax.output.shape[1:], softmax.count_params())
    assert spec.model.parameters == model.count_params()


extents = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(shape=extents, window=extents, strides=extents)
def test_valid_windows_are_as_many_as_fit(
    shape: tuple[int, int], window: tuple[int, int], strides: tuple[int, int]
) -> None:
    layer = MaxPooling2D(pool_size=window, strides=strides)
    fitting = tuple(
        sum(start + width <= extent for start in range(0, extent, step))
        for extent, width, step in zip(shape, window, strides, strict=True)
    )
    if 0 in fitting:
        with pytest.raises(ImpossibleLayer) as caught:
            after(layer, (*shape, 3))
        assert caught.value.field == "pool_size"
    else:
        assert after(layer, (*shape, 3)) == ((*fitting, 3), 0)


@given(shape=extents, window=extents, strides=extents)
def test_padded_windows_begin_at_every_stride(
    shape: tuple[int, int], window: tuple[int, int], strides: tuple[int, int]
) -> None:
    starts = tuple(len(range(0, extent, step)) for extent, step in zip(shape, strides, strict=True))
    pool = AveragePooling2D(pool_size=window, strides=strides, padding="same")
    conv = Conv2D(filters=5, kernel_size=window, strides=strides, padding="same")
    assert after(pool, (*shape, 3)).shape == (*starts, 3)
    assert after(conv, (*shape, 3)).shape == (*starts, 5)
