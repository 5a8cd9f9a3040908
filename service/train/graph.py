"""A trained model as an ONNX graph, written node by node from its spec and its weights.

The graph is channels-first, as onnxruntime computes: weights are brought into that order here, so no tensor has to be
turned while the model runs. It says what the Keras model says and nothing of its training; `service.train.export`
compares the two.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.specs.layers import (
    Activation,
    ActivationLayer,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Layer,
    MaxPooling2D,
    Padding,
)
from service.specs.shapes import CLASSES, INPUT_SHAPE, Shape, after

OPSET = 20
"""The first with exact gelu."""

IR_VERSION = 9
PRODUCER = "numeral"

PIXELS, PROBABILITIES, IS_DIGIT = "pixels", "probabilities", "is_digit"

Array = NDArray[np.float32]

ACTIVATIONS: dict[Activation, tuple[str, dict[str, float]]] = {
    "relu": ("Relu", {}),
    "elu": ("Elu", {"alpha": 1.0}),
    "gelu": ("Gelu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
}
"""ONNX operators with Keras's parameters. `linear` needs none, `silu` needs two."""


class Stack:
    """A stack of layers from the pixels to one output; `layers` are without the last, dense one."""

    def __init__(self, model: keras.Sequential, layers: Sequence[Layer], rescale: float) -> None:
        first, *stack, last = model.layers
        assert isinstance(first, keras.layers.Rescaling)
        assert len(stack) == len(layers)
        self.layers = layers
        self.rescale = rescale
        self.weights = [[np.asarray(array, np.float32) for array in layer.get_weights()] for layer in (*stack, last)]


def graph(classifier: Stack, detector: Stack) -> bytes:
    """The model that is served, as bytes of an ONNX file.

    It takes `pixels`, `(n, 28, 28, 1)` float32 in 0–255, and puts out `probabilities`, `(n, 10)`, and `is_digit`,
    `(n, 1)`, both float32.
    """
    writer = _Writer()
    image = writer.add("Reshape", PIXELS, writer.constant("channels_first", np.array([-1, 1, 28, 28])), name="image")
    writer.stack(classifier, image, PROBABILITIES, ("Softmax", {"axis": -1}))
    writer.stack(detector, image, IS_DIGIT, ("Sigmoid", {}))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
        for name, width in ((PROBABILITIES, CLASSES), (IS_DIGIT, 1))
    ]
    pixels = helper.make_tensor_value_info(PIXELS, TensorProto.FLOAT, ["n", *INPUT_SHAPE])
    content = helper.make_graph(writer.nodes, PRODUCER, [pixels], outputs, writer.constants)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(content, opset_imports=opset, ir_version=IR_VERSION, producer_name=PRODUCER)
    onnx.checker.check_model(model, full_check=True)
    serialized: bytes = model.SerializeToString()
    return serialized


class _Writer:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Add a node; its output has its name."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def stack(self, stack: Stack, image: str, output: str, last: tuple[str, dict[str, int]]) -> None:
        scale = self.constant(f"{output}/rescale", np.array(stack.rescale, np.float32))
        tensor = self.add("Mul", image, scale, name=f"{output}/scaled")
        shape: Shape = INPUT_SHAPE
        order: NDArray[np.int64] | None = None
        weights = iter(stack.weights)
        for index, layer in enumerate(stack.layers):
            name = f"{output}/{index}_{layer.type}"
            tensor, order = self._layer(name, layer, tensor, shape, next(weights), order)
            shape = after(layer, shape).shape
        tensor = self._dense(f"{output}/dense", tensor, next(weights), order)
        operator, attributes = last
        self.add(operator, tensor, name=output, **attributes)

    def _layer(
        self, name: str, layer: Layer, tensor: str, shape: Shape, weights: list[Array], order: NDArray[np.int64] | None
    ) -> tuple[str, NDArray[np.int64] | None]:
        """One layer; `order` says, of a vector that was a map, where Keras has each of its numbers."""
        match layer:
            case Conv2D():
                kernel = self.constant(f"{name}/kernel", weights[0].transpose(3, 2, 0, 1))
                bias = [self.constant(f"{name}/bias", weights[1])] if layer.use_bias else []
                windows = _windows(layer.kernel_size, layer.strides, layer.padding)
                tensor = self.add("Conv", tensor, kernel, *bias, name=name, **windows)
                return self._activation(name, layer.activation, tensor), None
            case MaxPooling2D() | AveragePooling2D():
                operator = "MaxPool" if isinstance(layer, MaxPooling2D) else "AveragePool"
                windows = _windows(layer.pool_size, layer.strides or layer.pool_size, layer.padding)
                return self.add(operator, tensor, name=name, **windows), None
            case GlobalAveragePooling2D():
                pooled = self.add("GlobalAveragePool", tensor, name=f"{name}/map")
                return self.add("Flatten", pooled, name=name), None
            case BatchNormalization():
                values = weights if order is None else [array[order] for array in weights]
                names = ("gamma", "beta", "mean", "variance")
                constants = [self.constant(f"{name}/{part}", value) for part, value in zip(names, values, strict=True)]
                return self.add("BatchNormalization", tensor, *constants, name=name, epsilon=layer.epsilon), order
            case ActivationLayer():
                return self._activation(name, layer.activation, tensor), order
            case Dropout():
                return tensor, order
            case Flatten():
                if len(shape) == 1:
                    return tensor, order
                channels_first = np.arange(math.prod(shape)).reshape(shape).transpose(2, 0, 1).ravel()
                return self.add("Flatten", tensor, name=name), channels_first
            case Dense():
                return self._activation(name, layer.activation, self._dense(name, tensor, weights, order)), None

    def _dense(self, name: str, tensor: str, weights: list[Array], order: NDArray[np.int64] | None) -> str:
        kernel, *bias = weights
        constants = [self.constant(f"{name}/kernel", kernel if order is None else kernel[order])]
        constants += [self.constant(f"{name}/bias", value) for value in bias]
        return self.add("Gemm", tensor, *constants, name=name)

    def _activation(self, name: str, activation: Activation, tensor: str) -> str:
        if activation == "linear":
            return tensor
        if activation == "silu":
            gate = self.add("Sigmoid", tensor, name=f"{name}/gate")
            return self.add("Mul", tensor, gate, name=f"{name}/silu")
        operator, attributes = ACTIVATIONS[activation]
        return self.add(operator, tensor, name=f"{name}/{activation}", **attributes)


def _windows(size: Sequence[int], strides: Sequence[int], padding: Padding) -> dict[str, object]:
    auto_pad = "SAME_UPPER" if padding == "same" else "VALID"
    return {"kernel_shape": list(size), "strides": list(strides), "auto_pad": auto_pad}
