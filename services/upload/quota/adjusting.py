"""The books put right: entries of the ledger for what differed, and the account with them. The caller's commit."""

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from services.upload.ledger.rules import Entry, Head
from services.upload.quota.repository import LEDGER
from shared.events import StorageAdjusted

_LOCK = "SELECT seq, head_hash FROM tenant_storage WHERE tenant_id = $1 FOR UPDATE"
_LAST = "SELECT occurred_at FROM storage_transaction WHERE tenant_id = $1 AND seq = $2"
# What uploads under way hold is theirs, whatever was counted wrongly.
_ACCOUNT = "UPDATE tenant_storage SET used = $2, files = $3, seq = $4, head_hash = $5 WHERE tenant_id = $1"

# What the ledger says of each month. Bought are no more than there are.
_RECOUNT = """
    WITH taken AS (
        SELECT image_month AS month, count(*) AS images FROM storage_transaction
        WHERE tenant_id = $1 AND image_month IS NOT NULL GROUP BY 1
    ), wrong AS (
        SELECT month, coalesce(t.images, 0) AS images, coalesce(i.bought, 0) AS bought
        FROM taken AS t FULL JOIN (SELECT * FROM image_month WHERE tenant_id = $1) AS i USING (month)
        WHERE coalesce(t.images, 0) <> coalesce(i.used, 0)
    )
    INSERT INTO image_month (tenant_id, month, used, bought)
    SELECT $1, month, images, least(bought, images) FROM wrong
    ON CONFLICT (tenant_id, month) DO UPDATE SET used = excluded.used, bought = excluded.bought
    RETURNING month
"""


async def lock(connection: Any, tenant: UUID) -> Head | None:
    """From here to the commit nothing of the tenant changes; None where it has no account."""
    row = await connection.fetchrow(_LOCK, tenant)
    if row is None:
        return None
    return Head(row["seq"], row["head_hash"], await connection.fetchval(_LAST, tenant, row["seq"]))


async def adjust(
    connection: Any, tenant: UUID, head: Head, events: Sequence[StorageAdjusted], used: int, files: int
) -> list[Entry[StorageAdjusted]]:
    """Under the lock that gave `head`. `used` and `files`: the account afterwards."""
    entries: list[Entry[StorageAdjusted]] = []
    for event in events:
        said = {"reason": event.reason, "delta_files": event.delta_files}
        entries.append(Entry.following(head, "adjust", event, event.delta_bytes, event.at, said, None))
        head = entries[-1].head
    await connection.execute(LEDGER, tenant, *Entry.columns(entries))
    await connection.execute(_ACCOUNT, tenant, used, files, head.seq, head.hash)
    return entries


async def recount_images(connection: Any, tenant: UUID) -> list[date]:
    """Under the account's lock: the account's images become those of the ledger. Returns the months that were wrong."""
    return sorted(row["month"] for row in await connection.fetch(_RECOUNT, tenant))
