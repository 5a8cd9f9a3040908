"""The Open Inference Protocol (KServe's v2, which Triton and others speak) over HTTP.

A model's name is an alias, or `numeral` for all models together. Its versions are experiments' ids.
"""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import Match

from service import __version__
from service.api.classifying import Question, classified
from service.api.deps import Database, ServedModels
from service.api.dialects import OpenInferenceRoute
from service.api.routes import health
from service.errors import InvalidInput, UnknownModel, UnsupportedMedia
from service.inference import open_inference
from service.inference.batcher import Answer
from service.inference.preprocess import SIDE
from service.store import aliases, registry
from service.store.aliases import DEFAULT_ALIAS
from service.store.database import reading
from service.store.registry import Resolved

router = APIRouter(prefix="/v2", tags=["open inference protocol"], route_class=OpenInferenceRoute)

FAMILY = "numeral"
JSON_BYTES = "Inference-Header-Content-Length"

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

INFERENCE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "object"}},
                        "outputs": {"type": "array", "items": {"type": "object"}},
                        "parameters": {"type": "object"},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class Server(BaseModel):
    """What is behind this address."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """The process answers."""

    live: bool = True


class Ready(BaseModel):
    """Requests can be answered."""

    ready: bool = True


class ReadyModel(BaseModel):
    """The model can answer."""

    name: str
    ready: bool = True


class Tensor(BaseModel):
    """What a model takes or gives; -1 is any number of images."""

    name: str
    datatype: str
    shape: list[int]


class Metadata(BaseModel):
    """A model's versions, and what it takes and gives."""

    name: str
    versions: list[str]
    platform: str = "onnxruntime_onnx"
    inputs: list[Tensor] = [Tensor(name=open_inference.INPUT, datatype="FP32", shape=[-1, SIDE, SIDE, 1])]
    outputs: list[Tensor] = [
        Tensor(name=name, datatype=datatype, shape=[-1, *shape])
        for name, (datatype, shape) in open_inference.OUTPUTS.items()
    ]


class IndexEntry(BaseModel):
    """A version of a model; it is loaded when it is asked."""

    name: str
    version: str
    state: str = "READY"
    reason: str = ""


@router.get("")
@router.get("/", include_in_schema=False)
def server() -> Server:
    """Name, version and the extensions that are understood."""
    return Server(name=FAMILY, version=__version__, extensions=["binary_tensor_data"])


@router.get("/health/live")
def live() -> Live:
    """The process answers."""
    return Live()


@router.get("/health/ready")
def ready(database: Database) -> Ready:
    """The database answers, too."""
    health.readyz(database)
    return Ready()


@router.get("/models/{name}")
def metadata(name: str, database: Database) -> Metadata:
    """A model's versions: of an alias, what it means now; of `numeral`, all experiments that have succeeded."""
    if name == FAMILY:
        with reading(database) as session:
            return Metadata(name=name, versions=[str(model.id) for model in registry.models(session)])
    return Metadata(name=name, versions=[str(_resolve(database, name).id)])


@router.get("/models/{name}/versions/{version}")
def version_metadata(name: str, version: str, database: Database) -> Metadata:
    """The same of one version."""
    return Metadata(name=name, versions=[str(_resolve(database, name, version).id)])


@router.get("/models/{name}/ready")
def model_ready(name: str, database: Database, models: ServedModels) -> ReadyModel:
    """The model can answer: it is loaded now, unless it is already."""
    return _load(models, _resolve(database, name), name)


@router.get("/models/{name}/versions/{version}/ready")
def version_ready(name: str, version: str, database: Database, models: ServedModels) -> ReadyModel:
    """The same of one version."""
    return _load(models, _resolve(database, name, version), name)


@router.post("/models/{name}/infer", response_class=Response, openapi_extra=INFERENCE)
async def infer(name: str, request: Request) -> Response:
    """Classify with the model that an alias means; `numeral` is `production`."""
    return await _infer(request, name, _reference(name))


@router.post("/models/{name}/versions/{version}/infer", response_class=Response, openapi_extra=INFERENCE)
async def version_infer(name: str, version: str, request: Request, database: Database) -> Response:
    """Classify with an experiment's model, in full precision, whatever the alias means now."""
    reference = _reference(name, version)
    if name != FAMILY:
        await run_in_threadpool(_resolve, database, name)
    return await _infer(request, name, reference)


@router.post("/repository/index")
def index(database: Database) -> list[IndexEntry]:
    """All models with all their versions."""
    with reading(database) as session:
        named = [(route.alias, route.experiment_id) for route in aliases.routing(session)]
        named += [(FAMILY, model.id) for model in registry.models(session)]
    return [IndexEntry(name=name, version=str(version)) for name, version in named]


@router.api_route("/{path:path}", methods=METHODS, include_in_schema=False)
async def nothing(request: Request) -> None:
    """Whatever else clients try is refused in a way that they understand."""
    allowed: set[str] = set()
    for route in router.routes:
        if isinstance(route, OpenInferenceRoute) and route.matches(request.scope)[0] is Match.PARTIAL:
            allowed |= route.methods or set()
    if allowed:
        raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(sorted(allowed))})
    raise HTTPException(HTTPStatus.NOT_FOUND)


def _reference(name: str, version: str | None = None) -> str:
    """What the registry calls a version of a model."""
    if name != FAMILY and not aliases.is_alias(name):
        raise UnknownModel(f"There is no model {name!r}: names are aliases, and {FAMILY!r} for all models.")
    if version is not None and aliases.is_alias(version):
        raise UnknownModel(f"There is no version {version!r}: versions are experiments' ids.")
    return version or (DEFAULT_ALIAS if name == FAMILY else name)


def _resolve(database: Database, name: str, version: str | None = None) -> Resolved:
    reference = _reference(name, version)
    with reading(database) as session:
        if name not in (FAMILY, reference):
            registry.resolve(session, name)
        return registry.resolve(session, reference)


def _load(models: ServedModels, resolved: Resolved, name: str) -> ReadyModel:
    models.get(resolved.id, resolved.variant)
    return ReadyModel(name=name)


async def _infer(request: Request, name: str, reference: str) -> Response:
    announced = request.headers.get(JSON_BYTES)
    if announced is not None and not (announced.isascii() and announced.isdecimal() and len(announced) <= 10):
        raise InvalidInput(f"{JSON_BYTES} is {announced[:20]!r}; it must be a number of bytes.")
    json_bytes = None if announced is None else int(announced)
    if (coding := request.headers.get("Content-Encoding", "identity").lower()) != "identity":
        raise UnsupportedMedia(f"Content-Encoding {coding[:20]!r} is not understood: send the body as it is.")

    def read(body: bytes) -> Question:
        asked = open_inference.parse(body, json_bytes)

        def write(answer: Answer) -> Response:
            content, json_bytes = open_inference.answer(asked, name, answer.target.resolved.id, answer.raw)
            if json_bytes is None:
                return Response(content, media_type="application/json")
            return Response(content, media_type="application/octet-stream", headers={JSON_BYTES: str(json_bytes)})

        return Question(asked.pixels, write)

    return await classified(request, reference, read)
