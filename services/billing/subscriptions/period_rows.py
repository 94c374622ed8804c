"""All SQL on which payments are in the period under way. Runs inside the caller's transaction, which holds the
subscription.

By the payments' ids and not by their times: a period begins by one clock and a payment completes by another.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.billing.subscriptions.rules import Part

# What became credits is still the team's: only what went back through the provider is no more in the period.
BACK = """
    SELECT coalesce(sum(r.amount), 0)::bigint FROM payment_refund AS r
    WHERE r.payment_id = f.payment_id AND r.status = 'completed' AND r.requested_by <> 'billing'
"""
_LIST = f"""
    SELECT f.payment_id, f.amount, f.refunded, ({BACK}) AS back FROM period_payment AS f
    WHERE f.tenant_id = $1 ORDER BY f.payment_id
"""
_PUT = """
    INSERT INTO period_payment (tenant_id, payment_id, amount, refunded)
    SELECT $1, * FROM unnest($2::uuid[], $3::bigint[], $4::bigint[])
"""


async def list_of(connection: Any, tenant: UUID) -> list[Part]:
    rows = await connection.fetch(_LIST, tenant)
    return [Part(row["payment_id"], row["amount"], row["refunded"], row["back"]) for row in rows]


async def put(connection: Any, tenant: UUID, parts: Sequence[Part]) -> None:
    """Of a period that has just begun, or was just paid."""
    columns = [part.payment for part in parts], [part.amount for part in parts], [part.refunded for part in parts]
    await connection.execute(_PUT, tenant, *columns)


async def clear(connection: Any, tenant: UUID) -> None:
    """The period is over."""
    await connection.execute("DELETE FROM period_payment WHERE tenant_id = $1", tenant)
