"""Space held for uploads that died, given back."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from shared.db import Database

_DUE = "SELECT DISTINCT tenant_id FROM reservation WHERE expires_at < now()"
_LOCK = "SELECT FROM tenant_storage WHERE tenant_id = $1 FOR UPDATE"
_EXPIRE = """
    WITH gone AS (
        DELETE FROM reservation WHERE tenant_id = $1 AND expires_at < now() AND ($2::uuid[] IS NULL OR id = ANY($2))
        RETURNING id, size
    ), account AS (
        UPDATE tenant_storage SET reserved = reserved - (SELECT coalesce(sum(size), 0) FROM gone) WHERE tenant_id = $1
    )
    SELECT id, size FROM gone
"""


class Expiry:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> dict[str, int] | None:
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_DUE)
        uploads = size = 0
        for row in rows:
            async with self._database.transaction() as connection:
                gone = await give_back(connection, row["tenant_id"])
            uploads, size = uploads + len(gone), size + sum(gone.values())
        return {"uploads": uploads, "bytes": size} if uploads else None


async def give_back(connection: Any, tenant: UUID, uploads: Sequence[UUID] | None = None) -> dict[UUID, int]:
    """What expired uploads of a tenant held, in bytes; None for all of them. The account's row is locked first, as
    everybody does: an upload that was renewed until then keeps what it holds.
    """
    await connection.execute(_LOCK, tenant)
    return {row["id"]: row["size"] for row in await connection.fetch(_EXPIRE, tenant, uploads)}
