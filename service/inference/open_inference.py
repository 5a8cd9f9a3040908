"""The Open Inference Protocol's messages: a request to pixels, what a model says to an answer; with binary tensors.

A message is a JSON object, and after it come the bytes of those tensors whose data is not in it. Where the object ends
is said by a header of the HTTP request; without that the whole body is JSON.
"""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.inference import tensors
from service.inference.lanes import Pixels
from service.specs.shapes import CLASSES

INPUT = "pixels"
OUTPUTS = {"probabilities": ("FP32", (CLASSES,)), "digit": ("INT64", ())}
"""Name, datatype and shape of what is answered about an image."""


MAX_EXTENT = 2**31
"""More than any body has bytes; so that sizes remain numbers that can be written."""


class Request(NamedTuple):
    """What was asked for."""

    id: str | None
    pixels: Pixels
    outputs: Sequence[tuple[str, bool]]
    """The outputs wanted, and whether each is to be sent as bytes."""


class Answer(NamedTuple):
    """An answer's body, and how many bytes of it are JSON: None if all."""

    content: bytes
    json_bytes: int | None


class _Parameters(msgspec.Struct):
    binary_data_output: bool = False


class _InputParameters(msgspec.Struct):
    binary_data_size: int | None = None
    shared_memory_region: str | None = None


class _Input(msgspec.Struct):
    name: str
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=MAX_EXTENT)]], msgspec.Meta(max_length=8)]
    datatype: str
    parameters: _InputParameters | None = None
    data: msgspec.Raw = msgspec.Raw()


class _OutputParameters(msgspec.Struct):
    binary_data: bool | None = None
    classification: int = 0
    shared_memory_region: str | None = None


class _Output(msgspec.Struct):
    name: str
    parameters: _OutputParameters | None = None


class _Request(msgspec.Struct):
    inputs: list[_Input]
    outputs: list[_Output] | None = None
    id: str | None = None
    parameters: _Parameters | None = None


_DECODER = msgspec.json.Decoder(_Request)


def parse(body: bytes, json_bytes: int | None) -> Request:
    """A request of which the first `json_bytes` are JSON; None if all are.

    Raises:
        InvalidInput: it is not a request that can be answered; the message says why.
    """
    view = memoryview(body)
    if json_bytes is None:
        json_bytes = len(body)
    elif json_bytes > len(body):
        raise InvalidInput(f"The JSON is said to have {json_bytes} bytes, but the body has only {len(body)}.")
    try:
        request = _DECODER.decode(view[:json_bytes])
    except msgspec.ValidationError as error:
        raise InvalidInput(f"This is not an inference request: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"The inference request is not JSON: {error}.") from None
    if len(request.inputs) != 1 or request.inputs[0].name != INPUT:
        given = ", ".join(repr(each.name[:40]) for each in request.inputs[:3]) or "none"
        raise InvalidInput(f"There must be one input, {INPUT!r}; given: {given}.")
    try:
        pixels = _pixels(request.inputs[0], view[json_bytes:])
    except InvalidInput as error:
        raise type(error)(f"Input {INPUT!r}: {error}") from None
    return Request(request.id, pixels, _outputs(request))


def answer(request: Request, model: str, version: int, probabilities: NDArray[np.float32]) -> Answer:
    """The answer to a request, given the model's `(n, 10)` probabilities."""
    values = {"probabilities": probabilities, "digit": probabilities.argmax(axis=1)}
    outputs: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for name, binary in request.outputs:
        datatype, _ = OUTPUTS[name]
        value = values[name].astype(tensors.DATATYPES[datatype], copy=False)
        output = {"name": name, "datatype": datatype, "shape": value.shape}
        if binary:
            parts.append(value.tobytes())
            output["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            output["data"] = value.ravel().tolist()
        outputs.append(output)
    document: dict[str, Any] = {"model_name": model, "model_version": str(version), "outputs": outputs}
    if request.id is not None:
        document["id"] = request.id
    head = msgspec.json.encode(document)
    return Answer(b"".join([head, *parts]), len(head) if parts else None)


def _pixels(given: _Input, rest: memoryview) -> Pixels:
    parameters = given.parameters or _InputParameters()
    data = bytes(given.data)
    size = parameters.binary_data_size
    if parameters.shared_memory_region is not None:
        raise InvalidInput("Shared memory is not possible; send the data.")
    if (size is None) == (not data):
        raise InvalidInput("There must be either data or parameters.binary_data_size.")
    if size is None and rest:
        raise InvalidInput(f"{len(rest)} bytes follow the JSON, but its data is in it.")
    if size is None:
        return tensors.of_json(data, given.datatype, given.shape)
    if size != len(rest):
        raise InvalidInput(f"binary_data_size is {size}, but {len(rest)} bytes follow the JSON.")
    return tensors.of_bytes(rest, given.datatype, given.shape)


def _outputs(request: _Request) -> list[tuple[str, bool]]:
    default = request.parameters is not None and request.parameters.binary_data_output
    if not request.outputs:
        return [(name, default) for name in OUTPUTS]
    wanted: dict[str, bool] = {}
    for output in request.outputs:
        parameters = output.parameters or _OutputParameters()
        if output.name not in OUTPUTS or output.name in wanted:
            raise InvalidInput(f"Output {output.name[:40]!r}: outputs are {', '.join(OUTPUTS)}, each at most once.")
        if parameters.shared_memory_region is not None or parameters.classification:
            raise InvalidInput(f"Output {output.name!r}: neither shared memory nor classification is possible.")
        wanted[output.name] = default if parameters.binary_data is None else parameters.binary_data
    return list(wanted.items())
