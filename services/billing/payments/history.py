"""A team's payments: in pages, by what one looks for, or as a file."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from services.billing.payments.repository import Payment
from shared.db import Database
from shared.events import PaymentMethod, PaymentPurpose
from shared.money import Money

PAGE = 500  # payments of a file held in memory

_COLUMNS = (
    *("payment_id", "external_payment_id", "transaction_id", "provider", "purpose", "subject", "plan", "status"),
    *("amount", "currency", "refunded", "method", "created_at", "completed_at"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_PAGE = """
    SELECT * FROM payment
    WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
      AND ($5::text IS NULL OR status = $5) AND ($6::text IS NULL OR method = $6)
      AND ($7::text IS NULL OR purpose = $7)
      AND ($8::timestamptz IS NULL OR created_at >= $8) AND ($9::timestamptz IS NULL OR created_at < $9)
    ORDER BY created_at DESC, id DESC LIMIT $4
"""


class Filters(BaseModel):
    """`from` is included, `to` is not; both need a time zone. All that are said must hold."""

    status: Literal["pending", "processing", "completed", "failed", "cancelled"] | None = None
    method: PaymentMethod | None = None
    purpose: PaymentPurpose | None = None
    since: AwareDatetime | None = Field(default=None, alias="from")
    until: AwareDatetime | None = Field(default=None, alias="to")
    format: Literal["json", "csv"] = "json"


class PaymentHistory:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_newest(
        self, tenant: UUID, filters: Filters, limit: int, after: tuple[datetime, UUID] | None
    ) -> list[Payment]:
        at, payment_id = after or (None, None)
        wanted = (filters.status, filters.method, filters.purpose, filters.since, filters.until)
        async with self._database.transaction(tenant) as connection:
            rows = await connection.fetch(_PAGE, tenant, at, payment_id, limit, *wanted)
        return [Payment.read(row) for row in rows]

    async def csv(self, tenant: UUID, filters: Filters) -> AsyncIterator[bytes]:
        """Newest first, a page in memory at a time and no transaction open while the client reads."""
        yield _lines([_COLUMNS])
        after: tuple[datetime, UUID] | None = None
        while True:
            found = await self.list_newest(tenant, filters, PAGE, after)
            if found:
                yield _lines([_row(payment) for payment in found])
            if len(found) < PAGE:
                return
            after = (found[-1].created_at, found[-1].id)


def _row(payment: Payment) -> list[Any]:
    written = {
        "payment_id": payment.id,
        "external_payment_id": payment.external_id,
        "amount": payment.money.text,
        "refunded": Money(payment.refunded, payment.currency).text,
        "created_at": payment.created_at.isoformat(),
        "completed_at": payment.completed_at and payment.completed_at.isoformat(),
    }
    return [_cell(written[name] if name in written else getattr(payment, name)) for name in _COLUMNS]


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    # A table program would run what looks like a formula, and a provider may call its payments what it likes.
    return f"'{text}" if text.startswith(_FORMULA) else text


def _lines(rows: list[Any]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()
