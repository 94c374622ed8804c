"""The books put right: entries of the ledger for what differed, and the account with them. The caller's commit."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.upload.ledger.rules import Entry, Head
from services.upload.quota.repository import LEDGER
from shared.events import StorageAdjusted

_LOCK = "SELECT seq, head_hash FROM tenant_storage WHERE tenant_id = $1 FOR UPDATE"
_LAST = "SELECT occurred_at FROM storage_transaction WHERE tenant_id = $1 AND seq = $2"
# What uploads under way hold is theirs, whatever was counted wrongly.
_ACCOUNT = "UPDATE tenant_storage SET used = $2, files = $3, seq = $4, head_hash = $5 WHERE tenant_id = $1"


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
