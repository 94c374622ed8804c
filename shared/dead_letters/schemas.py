"""Dead letters as the API shows them."""

import base64
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import orjson
from pydantic import BaseModel, StringConstraints

State = Literal["waiting", "replayed", "discarded"]


class DeadLetterOut(BaseModel):
    """`error` is the newest, `attempts` how often it was replayed. `partition` and `offset` are -1 where the record was
    fetched from its source. With `replay_requested_at` it is about to be replayed; when that fails it is null again.
    """

    id: UUID
    group: str
    topic: str
    partition: int
    offset: int
    tenant_id: UUID | None
    seq: int | None
    type: str | None
    error: str
    attempts: int
    state: State
    replayable: bool
    created_at: datetime
    replay_requested_at: datetime | None
    replay_requested_by: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    reason: str | None

    @classmethod
    def of(cls, row: Any) -> Self:
        return cls.model_validate(dict(row))


class WholeDeadLetterOut(DeadLetterOut):
    """`body` is decoded where it is JSON, else its bytes in base64; `encoding` says which, and is null without one."""

    key: str | None
    headers: dict[str, str]
    body: Any
    encoding: Literal["json", "base64"] | None

    @classmethod
    def of(cls, row: Any) -> Self:
        body, encoding = _decoded(row["value"])
        key = None if row["key"] is None else row["key"].decode("utf-8", "replace")
        return cls.model_validate({**dict(row), "key": key, "body": body, "encoding": encoding})


class ReplayOut(BaseModel):
    """How many letters were marked by this request; those that wait already and cannot be replayed are not."""

    requested: int
    topic: str | None


class DiscardIn(BaseModel):
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


def _decoded(value: bytes | None) -> tuple[Any, str | None]:
    if value is None:
        return None, None
    try:
        return orjson.loads(value), "json"
    except orjson.JSONDecodeError:
        return base64.b64encode(value).decode(), "base64"
