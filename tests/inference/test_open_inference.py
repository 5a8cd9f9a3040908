"""The Open Inference Protocol's messages: read as they are meant, or refused; written as they were asked for."""

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import InvalidInput
from service.inference import open_inference, tensors

SHAPES = [(28, 28, 1), (28, 28), (784,)]


def message(shape: Any, datatype: Any, size: Any, **more: Any) -> bytes:
    given = {"name": "pixels", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}
    return json.dumps({"inputs": [given | more]}).encode()


@given(
    count=st.integers(1, 3),
    image=st.sampled_from(SHAPES),
    datatype=st.sampled_from(list(tensors.DATATYPES)),
    seed=st.integers(0, 99),
)
def test_binary_and_json_mean_the_same_pixels(count: int, image: tuple[int, ...], datatype: str, seed: int) -> None:
    kind = np.dtype(tensors.DATATYPES[datatype])
    most = 127 if datatype == "INT8" else 255
    pixels = np.random.default_rng(seed).integers(0, most + 1, (count, *image))
    values = (pixels / 2 if kind.kind == "f" else pixels).astype(kind)
    expected = values.reshape(count, 28, 28)

    head = message(values.shape, datatype, values.nbytes)
    binary = open_inference.parse(head + values.tobytes(), len(head)).pixels
    np.testing.assert_array_equal(binary, expected)
    assert binary.dtype == (np.float32 if kind.kind == "f" else np.uint8)
    for data in (values.tolist(), values.ravel().tolist()):
        np.testing.assert_array_equal(tensors.of_json(json.dumps(data).encode(), datatype, values.shape), expected)
    np.testing.assert_array_equal(tensors.of_nested_json(json.dumps(values.tolist()).encode()), expected)


EXTENTS = st.sampled_from([-1, 0, 1, 2, 28, 784, 2**31, 2**63, 10**30])


@given(
    shape=st.sampled_from([[1, *image] for image in SHAPES]) | st.lists(EXTENTS, max_size=9),
    datatype=st.sampled_from([*tensors.DATATYPES, "BOOL", "", None]),
    size=st.sampled_from([None, -1, 0, 783, 784, 785, 1568, 3136, 6272, 2**63, True, 1.5, "784"]),
    rest=st.integers(0, 6272) | st.sampled_from([784, 1568, 3136, 6272]),
    byte=st.sampled_from([0, 1, 0x7F, 0xFF]),
    off=st.integers(-3, 3),
)
def test_a_binary_tensor_is_what_it_says_or_refused(
    shape: Any, datatype: Any, size: Any, rest: int, byte: int, off: int
) -> None:
    head = message(shape, datatype, size)
    try:
        pixels = open_inference.parse(head + bytes([byte]) * rest, len(head) + off).pixels
    except InvalidInput:
        return
    assert off == 0
    assert size == rest == np.dtype(tensors.DATATYPES[datatype]).itemsize * 784
    assert pixels.shape == (1, 28, 28)
    assert pixels.min() >= 0
    assert pixels.max() <= 255


@given(body=st.binary() | st.text().map(str.encode), header=st.none() | st.integers(0, 200))
def test_anything_else_is_refused(body: bytes, header: int | None) -> None:
    with pytest.raises(InvalidInput):
        open_inference.parse(body, header)


JSONS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["pixels", "[", ","]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["inputs", "name", "shape", "data", "parameters", "outputs", "id"]), inner)
    ),
)


@given(data=JSONS, outputs=JSONS, shape=st.sampled_from([[1, 784], [1, 28, 28]]) | JSONS)
def test_json_of_any_other_form_is_refused(data: Any, outputs: Any, shape: Any) -> None:
    given = {"name": "pixels", "shape": shape, "datatype": "FP32", "data": data}
    for body in (given, {"inputs": data}, {"inputs": [given], "outputs": outputs}):
        with pytest.raises(InvalidInput):
            open_inference.parse(json.dumps(body).encode(), None)
    with pytest.raises(InvalidInput):
        tensors.of_nested_json(json.dumps(data).encode())


@given(st.lists(st.sampled_from(["]]]", "[", "]", ",", "1", '"', "{", "}", " "]), max_size=9).map("".join))
@example("1]]]")
@example(" 1 ] ] ] ")
@example("]1]]")
@example("1]2]]")
@example("1]]]3")
def test_only_arrays_of_the_right_structure_are_taken(tail: str) -> None:
    text = json.dumps([[[0] * 28] * 28])[: -len("0]]]")] + tail
    body = f'{{"inputs": [{{"name": "pixels", "shape": [1, 28, 28], "datatype": "FP32", "data": {text}}}]}}'.encode()
    try:
        expected = np.asarray(json.loads(text), np.float32)
    except ValueError:
        expected = np.empty(0)
    if expected.shape == (1, 28, 28):
        np.testing.assert_array_equal(open_inference.parse(body, None).pixels, expected)
    else:
        with pytest.raises(InvalidInput):
            open_inference.parse(body, None)


@pytest.mark.parametrize("text", [b"[" + b"[]," * 400_000 + b"[]]", b"[" * 1_000_000, b'["' + b"," * 1_000_000 + b'"]'])
def test_what_is_no_image_takes_little_memory(text: bytes) -> None:
    tracemalloc.start()
    try:
        for attempt in (
            lambda: tensors.of_nested_json(text),
            lambda: tensors.of_json(text, "FP32", [2**31, 784]),
            lambda: open_inference.parse(b'{"inputs": ' + text + b"}", None),
        ):
            with pytest.raises(InvalidInput):
                attempt()
        assert tracemalloc.get_traced_memory()[1] < 10 * len(text)
    finally:
        tracemalloc.stop()


def test_an_answer_is_written_as_it_was_asked_for() -> None:
    probabilities = np.eye(10, dtype=np.float32)[[3, 7]]
    asked = open_inference.Request("x", np.zeros((2, 28, 28), np.uint8), [("digit", True), ("probabilities", False)])
    content, length = open_inference.answer(asked, "staging", 5, probabilities)
    assert length is not None
    document = json.loads(content[:length])
    assert document == {
        "model_name": "staging",
        "model_version": "5",
        "id": "x",
        "outputs": [
            {"name": "digit", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}},
            {"name": "probabilities", "datatype": "FP32", "shape": [2, 10], "data": probabilities.ravel().tolist()},
        ],
    }
    assert np.frombuffer(content[length:], "<i8").tolist() == [3, 7]
