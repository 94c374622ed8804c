"""Every credit transaction of a tenant, with the grants it is about, for its team to read, filter and take away."""

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.billing.credits.commands import Type
from services.billing.credits.rules import Source
from shared.db import Database
from shared.errors import DomainError

PAGE = 1_000  # transactions of a CSV held in memory

COLUMNS = (
    *("seq", "id", "at", "type", "amount", "balance", "reserved", "source", "use", "quantity", "subject"),
    *("client_id", "description", "by", "grants"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

# `source`: what came from there, and what was paid with it. The key of a client has the command before it.
_PAGE = """
    SELECT t.seq, t.id, t.at, t.type, t.amount, t.available_after AS balance, t.reserved_after AS reserved, t.source,
        t.use, t.quantity, t.subject, substr(t.key, strpos(t.key, ':') + 1) AS client_id, t.description, t.by, p.grants
    FROM credit_transaction AS t CROSS JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_object('grant_id', p.grant_id, 'source', g.source, 'account', p.account,
            'amount', p.amount) ORDER BY g.priority, g.expires_at, g.created_at, g.id, p.account) AS grants,
            bool_or(g.source = $4) AS of_source
        FROM credit_posting AS p JOIN credit_grant AS g ON g.id = p.grant_id
        WHERE p.tenant_id = t.tenant_id AND p.seq = t.seq AND p.account IN ('available', 'reserved', 'spent', 'expired')
    ) AS p
    WHERE t.tenant_id = $1 AND ($2::bigint IS NULL OR {beyond}) AND ($3::text IS NULL OR t.type = $3)
        AND ($4::text IS NULL OR p.of_source) AND ($5::timestamptz IS NULL OR t.at >= $5)
        AND ($6::timestamptz IS NULL OR t.at < $6)
    ORDER BY t.seq {order} LIMIT $7
"""
_NEWEST = _PAGE.format(beyond="t.seq < $2", order="DESC")
_OLDEST = _PAGE.format(beyond="t.seq > $2", order="ASC")


@dataclass(frozen=True, slots=True)
class Filter:
    """Times from `since` on and before `to`."""

    type: Type | None = None
    source: Source | None = None
    since: datetime | None = None
    to: datetime | None = None


class CreditHistory:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_newest(self, tenant: UUID, wanted: Filter, limit: int, before: int | None) -> list[dict[str, Any]]:
        return await self._fetch(_NEWEST, tenant, wanted, limit, before)

    async def csv(self, tenant: UUID, wanted: Filter) -> AsyncIterator[bytes]:
        """All of it, oldest first, a page in memory at a time and no transaction open while the client reads."""
        yield _lines([COLUMNS])
        after: int | None = 0
        while after is not None:
            rows = await self._fetch(_OLDEST, tenant, wanted, PAGE, after)
            if rows:
                yield _lines([[_cell(row[column]) for column in COLUMNS] for row in rows])
            after = rows[-1]["seq"] if len(rows) == PAGE else None

    async def _fetch(
        self, sql: str, tenant: UUID, wanted: Filter, limit: int, position: int | None
    ) -> list[dict[str, Any]]:
        values = (tenant, position, wanted.type, wanted.source, wanted.since, wanted.to, limit)
        async with self._database.transaction(tenant) as connection:
            return [dict(row) for row in await connection.fetch(sql, *values)]


def read_seq(cursor: list[Any] | None) -> int | None:
    """Raises DomainError `invalid_cursor`."""
    if cursor is None:
        return None
    if len(cursor) != 1 or type(cursor[0]) is not int or not 0 <= cursor[0] < 2**63:
        raise DomainError("invalid_cursor", 422, "The cursor is not one of ours.")
    return int(cursor[0])


def _lines(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> str | int:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if value is None or isinstance(value, int):
        return "" if value is None else value
    if isinstance(value, list):
        return " ".join(f"{part['grant_id']}:{part['account']}:{part['amount']}" for part in value)
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
