"""Space held for uploads that died, given back."""

from shared.db import Database

_DUE = "SELECT DISTINCT tenant_id FROM reservation WHERE expires_at < now()"
_LOCK = "SELECT FROM tenant_storage WHERE tenant_id = $1 FOR UPDATE"
_EXPIRE = """
    WITH gone AS (DELETE FROM reservation WHERE tenant_id = $1 AND expires_at < now() RETURNING size), account AS (
        UPDATE tenant_storage SET reserved = reserved - (SELECT coalesce(sum(size), 0) FROM gone) WHERE tenant_id = $1
    )
    SELECT count(*) AS uploads, coalesce(sum(size), 0)::bigint AS bytes FROM gone
"""


class Expiry:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> dict[str, int] | None:
        """The account's row is locked first, as everybody does."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_DUE)
        uploads = size = 0
        for row in rows:
            async with self._database.transaction() as connection:
                await connection.execute(_LOCK, row["tenant_id"])
                gone = await connection.fetchrow(_EXPIRE, row["tenant_id"])
            uploads, size = uploads + gone["uploads"], size + gone["bytes"]
        return {"uploads": uploads, "bytes": size} if uploads else None
