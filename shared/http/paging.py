"""Lists in pages: `{items, next_cursor}`, continued by a cursor that names the last item, not a number of rows."""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import orjson
from fastapi import Depends, Query
from pydantic import BaseModel

from shared.errors import DomainError

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """At most `limit` items after `cursor` (the decoded key of the last item seen, None at the start)."""

    limit: int
    cursor: list[Any] | None


def encode_cursor(*key: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(key, default=str)).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> list[Any]:
    """Raises DomainError `invalid_cursor`."""
    try:
        key = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        raise DomainError("invalid_cursor", 422, "The cursor is not one of ours.") from error
    if not isinstance(key, list):
        raise DomainError("invalid_cursor", 422, "The cursor is not one of ours.")
    return key


def read_position(cursor: list[Any] | None) -> tuple[datetime, UUID] | None:
    """Of a list in the order of a moment and an id. Raises DomainError `invalid_cursor`."""
    if cursor is None:
        return None
    try:
        moment, item = cursor
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None:
            raise ValueError(moment)
        return at, UUID(item)
    except (ValueError, TypeError, AttributeError):
        raise DomainError("invalid_cursor", 422, "The cursor is not one of ours.") from None


async def _paging(
    limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: Annotated[str | None, Query(max_length=512)] = None
) -> PageRequest:
    return PageRequest(limit, None if cursor is None else decode_cursor(cursor))


Paging = Annotated[PageRequest, Depends(_paging)]
