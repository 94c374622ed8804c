"""The audit trail: every entry of the ledger, for its tenant to read, filter and take away."""

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, Field

from services.upload.ledger.rules import Action
from shared.db import Database
from shared.errors import DomainError

SCAN = 10_000  # entries one page looks at
PAGE = 1_000  # entries of a CSV held in memory

COLUMNS = (
    *("seq", "id", "action", "file_id", "file_path", "file_name", "file_size", "delta", "content_type", "file_type"),
    *("category", "uploaded_by", "occurred_at", "metadata"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Filters(BaseModel):
    """`from` and `to` are times, the first inclusive. `user` is who did it."""

    since: Annotated[datetime | None, Field(alias="from")] = None
    to: datetime | None = None
    action: Action | None = None
    file_id: UUID | None = None
    user: UUID | None = None
    category: Annotated[str, Field(max_length=64)] | None = None
    format: Literal["json", "csv"] = "json"


@dataclass(frozen=True, slots=True)
class Trail:
    """One page of rows. `after` is the next one's cursor, None at the end; a page before that may be short."""

    rows: list[dict[str, Any]]
    after: list[Any] | None


class TransactionService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_page(self, tenant: UUID, filters: Filters, cursor: list[Any] | None, limit: int) -> Trail:
        """Constant work: an index gives the time (and the file), SCAN rows are tried for the rest."""
        return await self._page(tenant, filters, _position(cursor), limit, newest_first=True)

    async def csv(self, tenant: UUID, filters: Filters) -> AsyncIterator[bytes]:
        """All of it, oldest first, a page in memory at a time and no transaction open while the client reads."""
        yield _csv_rows([COLUMNS])
        after: tuple[datetime, int] | None = None
        while True:
            trail = await self._page(tenant, filters, after, PAGE, newest_first=False)
            if trail.rows:
                yield _csv_rows([[_cell(row[column]) for column in COLUMNS] for row in trail.rows])
            if trail.after is None:
                return
            after = _position(trail.after)

    async def _page(
        self, tenant: UUID, filters: Filters, after: tuple[datetime, int] | None, limit: int, *, newest_first: bool
    ) -> Trail:
        walk, tried, values, walked = _build(filters, after, newest_first=newest_first)
        order = _order(newest_first=newest_first)
        columns = ", ".join(COLUMNS)
        sql = f"SELECT {columns} FROM ({walk} LIMIT {SCAN}) AS t WHERE {tried} ORDER BY {order} LIMIT {limit + 1}"
        async with self._database.transaction(tenant) as connection:
            rows = [dict(row) for row in await connection.fetch(sql, *values)]
            if len(rows) > limit:
                return Trail(rows[:limit], _cursor(rows[limit - 1]))
            last = await connection.fetchrow(f"{walk} OFFSET {SCAN - 1} LIMIT 1", *values[:walked])
        return Trail(rows, None if last is None else _cursor(last))


def _build(
    filters: Filters, after: tuple[datetime, int] | None, *, newest_first: bool
) -> tuple[str, str, list[Any], int]:
    """The walk along an index, the conditions tried on it, the values of both, and how many of them are the walk's."""
    values: list[Any] = []

    def value(found: Any) -> str:
        values.append(found)
        return f"${len(values)}"

    walk = ["true"]
    if filters.file_id is not None:
        walk.append(f"file_id = {value(filters.file_id)}")
    # Past a cursor the bound the walk came from goes without saying: PostgreSQL might begin at it instead.
    if filters.since is not None and (after is None or newest_first):
        walk.append(f"occurred_at >= {value(filters.since)}")
    if filters.to is not None and (after is None or not newest_first):
        walk.append(f"occurred_at < {value(filters.to)}")
    if after is not None:
        at, seq = after
        walk.append(f"(occurred_at, seq) {'<' if newest_first else '>'} ({value(at)}, {value(seq)})")
    walked = len(values)
    said = {"action": filters.action, "uploaded_by": filters.user, "category": filters.category}
    tried = [f"{column} = {value(found)}" for column, found in said.items() if found is not None]
    order = _order(newest_first=newest_first)
    sql = f"SELECT * FROM storage_transaction WHERE {' AND '.join(walk)} ORDER BY {order}"
    return sql, " AND ".join(tried) or "true", values, walked


def _order(*, newest_first: bool) -> str:
    return "occurred_at DESC, seq DESC" if newest_first else "occurred_at, seq"


def _cursor(row: Any) -> list[Any]:
    return [row["occurred_at"].isoformat(), row["seq"]]


def _position(cursor: list[Any] | None) -> tuple[datetime, int] | None:
    if cursor is None:
        return None
    try:
        at, seq = datetime.fromisoformat(cursor[0]), cursor[1]
        if len(cursor) != 2 or at.tzinfo is None or type(seq) is not int or abs(seq) >= 2**63:
            raise ValueError(cursor)
        return at, seq
    except (ValueError, TypeError, IndexError):
        raise DomainError("invalid_cursor", 422, "The cursor is not one of ours.") from None


def _csv_rows(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> str | int:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if value is None or isinstance(value, int):
        return "" if value is None else value
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
