"""All SQL on views of ads. Runs inside the caller's transaction, under the lock of the tenant's credit account."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from services.billing.ads.rules import View

_COLUMNS = "id, tenant_id, user_id, status, started_at, completed_at, seconds, credits, reason"
_FIND = f"SELECT {_COLUMNS} FROM ad_view WHERE tenant_id = $1 AND id = $2"
_OPEN = f"SELECT {_COLUMNS} FROM ad_view WHERE tenant_id = $1 AND status = 'open'"
_INSERT = "INSERT INTO ad_view (id, tenant_id, user_id, status, started_at) VALUES ($1, $2, $3, 'open', $4)"
_UPDATE = """
    UPDATE ad_view SET status = $3, completed_at = $4, seconds = $5, credits = $6, reason = $7, day = $8, number = $9
    WHERE tenant_id = $1 AND id = $2
"""
# Days behind today count as today: a team that moves west does not get its day twice.
_REWARDED = """
    SELECT count(*) AS rewarded, coalesce(max(number) FILTER (WHERE day = $2), 0) AS number
    FROM ad_view WHERE tenant_id = $1 AND day >= $2
"""
_VERIFIED = "SELECT EXISTS (SELECT FROM ad_verification WHERE tenant_id = $1 AND view_id = $2)"
_VERIFY = """
    INSERT INTO ad_verification (transaction_id, tenant_id, view_id, network, key_id, at)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING 1
"""
_IS_SAME = "SELECT EXISTS (SELECT FROM ad_verification WHERE tenant_id = $1 AND view_id = $2 AND transaction_id = $3)"


async def find(connection: Any, tenant: UUID, view: UUID) -> View | None:
    row = await connection.fetchrow(_FIND, tenant, view)
    return None if row is None else View(**row)


async def find_open(connection: Any, tenant: UUID) -> View | None:
    row = await connection.fetchrow(_OPEN, tenant)
    return None if row is None else View(**row)


async def insert(connection: Any, view: View) -> None:
    await connection.execute(_INSERT, view.id, view.tenant_id, view.user_id, view.started_at)


async def update(connection: Any, view: View, day: date | None = None, number: int | None = None) -> None:
    """`day` and `number` of one that was rewarded: no two of a team have the same."""
    await connection.execute(
        _UPDATE,
        view.tenant_id,
        view.id,
        view.status,
        view.completed_at,
        view.seconds,
        view.credits,
        view.reason,
        day,
        number,
    )


async def count_rewarded(connection: Any, tenant: UUID, day: date) -> tuple[int, int]:
    """How many were rewarded on that day or after, and the last one's number of that day."""
    row = await connection.fetchrow(_REWARDED, tenant, day)
    return row["rewarded"], row["number"]


async def is_verified(connection: Any, tenant: UUID, view: UUID) -> bool:
    return bool(await connection.fetchval(_VERIFIED, tenant, view))


async def insert_verification(
    connection: Any, transaction: str, tenant: UUID, view: UUID, network: str, key: int, at: datetime
) -> bool:
    """False when the transaction or the view has one."""
    return bool(await connection.fetchval(_VERIFY, transaction, tenant, view, network, key, at))


async def is_same_verification(connection: Any, transaction: str, tenant: UUID, view: UUID) -> bool:
    return bool(await connection.fetchval(_IS_SAME, tenant, view, transaction))
