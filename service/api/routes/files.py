"""Artifacts: the list, and each file with ETag and Range."""

import re
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers

from service import schemas
from service.api.deps import Database, ExperimentId
from service.api.etags import has_already
from service.api.problems import problem
from service.store import artifacts
from service.store.database import reading

router = APIRouter(prefix="/v1/experiments", tags=["artifacts"])

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)


@router.get("/{experiment_id}/artifacts")
def index(experiment_id: ExperimentId, database: Database) -> schemas.Artifacts:
    """An experiment's files."""
    with reading(database) as session:
        found = artifacts.of(session, experiment_id)
        return schemas.Artifacts(items=[schemas.Artifact.model_validate(row) for row in found])


@router.get("/{experiment_id}/artifacts/{name}", response_class=Response)
@router.head("/{experiment_id}/artifacts/{name}", response_class=Response, include_in_schema=False)
def download(experiment_id: ExperimentId, name: str, database: Database, request: Request) -> Response:
    """A file. Its ETag is the SHA-256 of its content; one byte range may be asked for."""
    with reading(database) as session:
        artifact = artifacts.get(session, experiment_id, name)
    etag = f'"{artifact.sha256}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "no-cache"}
    if has_already(request.headers, etag):
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = f'attachment; filename="{name}"'
    media_type, content = artifact.media_type, artifact.content

    part = _range(request.headers, etag, len(content))
    if part is None:
        return Response(content, headers=headers, media_type=media_type)
    if len(part) == 0:
        detail = f"{name} has {len(content)} bytes; none of them are in the range that was asked for."
        return problem(
            HTTPStatus(416), "range_not_satisfiable", detail, headers={"Content-Range": f"bytes */{len(content)}"}
        )
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(content)}"
    return Response(content[part.start : part.stop], status_code=206, headers=headers, media_type=media_type)


def _range(headers: Headers, etag: str, size: int) -> range | None:
    """The bytes that are asked for (RFC 9110, 14.2): None for all of them, an empty range if none of them exist.

    Several ranges, invalid ones and units that are not bytes are answered with the whole file, as the RFC allows.
    """
    asked = _RANGE.fullmatch(headers.get("Range", ""))
    if asked is None or headers.get("If-Range", etag) != etag:
        return None
    first, last = asked.groups()
    if first and last and int(last) < int(first):
        return None
    if first:
        return range(int(first), min(int(last) + 1, size) if last else size)
    return range(max(size - int(last), 0), size) if last else None
