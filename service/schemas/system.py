"""The service itself: its workers, its health, its errors."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from service.schemas.base import Schema


class Worker(Schema):
    """A process that trains."""

    name: str
    host: str
    pid: int
    device: str
    slots: int = Field(description="how many experiments it trains at a time")
    version: str
    started_at: datetime
    last_beat_at: datetime
    alive: bool = Field(description="whether it was heard of lately")
    experiments: list[int] = Field(description="what it trains at the moment")


class Workers(Schema):
    """All workers that have not said goodbye."""

    items: list[Worker]


class Health(Schema):
    """Whether the service can do its work."""

    status: Literal["ok"]
    version: str


class FieldError(Schema):
    """One field of a request that was refused."""

    field: str
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457); `code` is stable and meant for programs, `detail` for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] | None = None
