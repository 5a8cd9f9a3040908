"""The shape of MLflow's scoring server, for callers of `mlflow models serve`. `production` answers."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from service import __version__
from service.api.classifying import Question, classified
from service.api.deps import Database
from service.api.dialects import MlflowRoute
from service.errors import InvalidInput, UnsupportedMedia
from service.inference import tensors
from service.inference.batcher import Answer
from service.inference.lanes import Pixels
from service.store import registry
from service.store.aliases import DEFAULT_ALIAS
from service.store.database import reading

router = APIRouter(tags=["mlflow"], route_class=MlflowRoute)

FORMS = ("instances", "inputs", "dataframe_split")

INVOCATION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "instances": {"type": "array"},
                        "inputs": {"type": ["array", "object"]},
                        "dataframe_split": {"type": "object"},
                        "params": {"type": "object"},
                    },
                }
            }
        },
    }
}


class _Frame(msgspec.Struct, forbid_unknown_fields=True):
    data: msgspec.Raw
    columns: msgspec.Raw = msgspec.Raw()
    index: msgspec.Raw = msgspec.Raw()


class _Named(msgspec.Struct, forbid_unknown_fields=True):
    pixels: msgspec.Raw


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    instances: msgspec.Raw = msgspec.Raw()
    inputs: msgspec.Raw = msgspec.Raw()
    dataframe_split: _Frame | None = None
    params: msgspec.Raw = msgspec.Raw()


_BODY = msgspec.json.Decoder(_Body)
_NAMED = msgspec.json.Decoder(_Named)


@router.get("/ping", response_class=Response)
@router.get("/health", response_class=Response)
def ping(database: Database) -> Response:
    """There is a model that answers."""
    with reading(database) as session:
        registry.resolve(session, DEFAULT_ALIAS)
    return Response("\n", media_type="application/json")


@router.get("/version", response_class=PlainTextResponse)
def version() -> str:
    """Numeral's version."""
    return __version__


@router.post("/invocations", response_class=Response, openapi_extra=INVOCATION)
async def invocations(request: Request) -> Response:
    """Classify. `predictions` are the probabilities of the ten digits, as a Keras model's are."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedMedia(f"Content-Type is {kind[:40]!r}; it must be application/json.")
    return await classified(request, DEFAULT_ALIAS, lambda body: Question(_pixels(body), _answer))


def _pixels(body: bytes) -> Pixels:
    try:
        given = _BODY.decode(body)
        forms = [bytes(given.instances), _array(bytes(given.inputs)), _rows(given.dataframe_split)]
    except msgspec.ValidationError as error:
        raise InvalidInput(f"The body is not an invocation: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"The body is not JSON: {error}.") from None
    present = [(name, array) for name, array in zip(FORMS, forms, strict=True) if array]
    if len(present) != 1:
        raise InvalidInput(f"The body must be a JSON object with exactly one of {', '.join(FORMS)}.")
    [(name, array)] = present
    try:
        return tensors.of_nested_json(array)
    except InvalidInput as error:
        raise type(error)(f"{name}: {error}") from None


def _array(inputs: bytes) -> bytes:
    """The array of `inputs`, which may be an object that names it."""
    return bytes(_NAMED.decode(inputs).pixels) if inputs.startswith(b"{") else inputs


def _rows(frame: _Frame | None) -> bytes:
    return bytes(frame.data) if frame else b""


def _answer(answer: Answer) -> Response:
    return Response(msgspec.json.encode({"predictions": answer.raw.tolist()}), media_type="application/json")
