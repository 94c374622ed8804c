"""The ledger as it was hashed, for its tenant to take away and check without us: `docs/check_ledger.py` does."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from services.upload.ledger.chain import ENTRIES
from services.upload.ledger.rules import GENESIS
from services.upload.ledger.service import HEAD
from shared.db import Database
from shared.errors import DomainError

PAGE = 1_000  # entries in memory

_HASH = "SELECT hash FROM storage_transaction WHERE tenant_id = $1 AND seq = $2"


@dataclass(frozen=True, slots=True)
class ChainHead:
    position: int
    head_hash: str


class LedgerDownload:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def head(self, tenant: UUID, position: int | None) -> ChainHead:
        """After entry `position`, the newest when None. Raises DomainError 409 `position_ahead`."""
        async with self._database.transaction(tenant) as connection:
            newest = await connection.fetchval(HEAD, tenant) or 0
            position = newest if position is None else position
            if position > newest:
                raise DomainError("position_ahead", 409, f"The ledger ends at {newest}.", head=newest)
            found = GENESIS if position == 0 else await connection.fetchval(_HASH, tenant, position)
        return ChainHead(position, found.hex())

    async def lines(self, tenant: UUID, after: int) -> AsyncIterator[bytes]:
        """One JSON object an entry, from `after` up to the head there was at the beginning; no transaction stays open
        while the client reads.
        """
        end = (await self.head(tenant, None)).position
        while after < end:
            async with self._database.transaction(tenant) as connection:
                rows = await connection.fetch(ENTRIES, tenant, after, end, PAGE)
            if not rows:
                return
            yield b"".join(orjson.dumps(_line(row), option=orjson.OPT_APPEND_NEWLINE) for row in rows)
            after = rows[-1]["seq"]


def _line(row: Any) -> dict[str, Any]:
    return {
        "seq": row["seq"],
        "id": str(row["id"]),
        "type": row["type"],
        "time": row["occurred_at"].isoformat(),  # as it was hashed
        "body": row["body"],
        "previous": row["prev_hash"].hex(),
        "hash": row["hash"].hex(),
        "redacted": row["redacted_at"] is not None,
    }
