"""The part of the OpenAPI document about predictions, which FastAPI does not see (`service.api.predictions`)."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from service import schemas
from service.api import problems
from service.api.predictions import MODEL_PATH, PATH

REF = "#/components/schemas/{model}"

BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "additionalProperties": False,
                "properties": {
                    "images": {
                        "type": "array",
                        "minItems": 1,
                        "description": "28×28 or 784 numbers from 0 to 255, or base64 of an encoded picture",
                        "items": {},
                    },
                    "preprocess": {"$ref": REF.format(model="Preprocess")},
                    "explain": {"type": "boolean"},
                    "threshold": {"type": "number", "minimum": 0, "maximum": 1},
                },
            }
        },
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        },
        "application/octet-stream": {
            "schema": {"type": "string", "format": "binary", "description": "N × 784 unsigned bytes"}
        },
    },
}

PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "preprocess",
        "description": "what happens to the images before the model sees them",
        "schema": {"$ref": REF.format(model="Preprocess")},
    },
    {"name": "explain", "description": "say what the model saw", "schema": {"type": "boolean", "default": False}},
    {
        "name": "threshold",
        "description": "confidence below which no digit is named; the model's own by default",
        "schema": {"type": "number", "minimum": 0, "maximum": 1},
    },
]


def document_predictions(app: FastAPI) -> None:
    """Add the two routes to what `/openapi.json` says."""
    of_fastapi = app.openapi

    def openapi() -> dict[str, Any]:
        document = of_fastapi()
        if PATH not in document["paths"]:
            _, shared = models_json_schema([(schemas.Predictions, "serialization")], ref_template=REF)
            preprocess = {"enum": [each.value for each in schemas.Preprocess], "type": "string"}
            document.setdefault("components", {}).setdefault("schemas", {}).update(
                shared["$defs"] | {"Preprocess": preprocess}
            )
            document["paths"] |= {
                PATH: _operation("predict", "Classify images with the model that `production` means."),
                MODEL_PATH: _operation(
                    "predict_with",
                    "Classify images with the model that an alias or an experiment's id means.",
                    {"name": "reference", "in": "path", "required": True, "schema": {"type": "string"}},
                ),
            }
        return document

    # FastAPI's own way to extend the document.
    app.openapi = openapi  # type: ignore[method-assign]


def _operation(name: str, summary: str, *path: dict[str, Any]) -> dict[str, Any]:
    answer = {"application/json": {"schema": {"$ref": REF.format(model="Predictions")}}}
    operation = {
        "tags": ["predictions"],
        "summary": summary,
        "operationId": name,
        "parameters": [*path, *({**parameter, "in": "query", "required": False} for parameter in PARAMETERS)],
        "requestBody": BODY,
        "responses": {"200": {"description": "A prediction per image", "content": answer}, **problems.RESPONSES},
    }
    return {"post": operation}
