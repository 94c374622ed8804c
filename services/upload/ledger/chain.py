"""The ledger against itself: every entry follows from the one before it."""

import asyncio
from typing import Any
from uuid import UUID

from services.upload.ledger.rules import GENESIS, link
from shared.errors import DomainError

PAGE = 5_000

ENTRIES = """
    SELECT seq, id, type, occurred_at, body, prev_hash, hash, redacted_at FROM storage_transaction
    WHERE tenant_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4
"""


class ChainBroken(DomainError):
    """An entry does not follow from the one before it: the ledger was altered."""

    def __init__(self, seq: int) -> None:
        super().__init__("ledger_chain_broken", 500, f"The ledger's chain breaks at entry {seq}.", seq=seq)
        self.seq = seq


async def verify(connection: Any, tenant: UUID, position: int) -> bytes:
    """Recomputes every link up to `position`; returns the hash there. Raises ChainBroken."""
    seq, previous = 0, GENESIS
    while seq < position:
        rows = await connection.fetch(ENTRIES, tenant, seq, position, PAGE)
        if not rows:
            raise ChainBroken(seq + 1)
        previous = await asyncio.to_thread(_follow, rows, seq, previous)
        seq = rows[-1]["seq"]
    return previous


def _follow(rows: list[Any], seq: int, previous: bytes) -> bytes:
    for row in rows:
        # What an erasure has taken out of a body cannot be hashed; the entries behind it still hang on its hash.
        expected = row["hash"]
        if row["redacted_at"] is None:
            expected = link(previous, row["seq"], row["id"], row["type"], row["occurred_at"], row["body"])
        if row["seq"] != seq + 1 or row["prev_hash"] != previous or row["hash"] != expected:
            raise ChainBroken(seq + 1)
        seq, previous = row["seq"], expected
    return previous
