"""The ledger against itself and against the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.upload.blobs.locations import Locations
from services.upload.blobs.store import Found
from services.upload.ledger.chain import verify
from services.upload.ledger.fold import Kind, fold
from services.upload.ledger.rules import GENESIS
from shared.db import Database
from shared.errors import DomainError

Place = tuple[str, str]  # location, path

HEAD = "SELECT seq FROM tenant_storage WHERE tenant_id = $1"
# Up to the first entry that is later: in old ledgers some are earlier than the ones before them.
_AT = """
    SELECT seq, hash FROM storage_transaction WHERE tenant_id = $1 AND seq = coalesce(
        (SELECT min(seq) - 1 FROM storage_transaction WHERE tenant_id = $1 AND occurred_at > $2),
        (SELECT max(seq) FROM storage_transaction WHERE tenant_id = $1)
    )
"""
_LIVE = """
    SELECT t.seq, f.location, f.path, f.size FROM tenant_storage AS t LEFT JOIN stored_file AS f USING (tenant_id)
    WHERE t.tenant_id = $1
"""


@dataclass(frozen=True, slots=True)
class StoreProof:
    """What lies in the store for the files that live at `position`; what else lies there; what is not there."""

    bytes: int
    files: int
    missing: list[str]
    orphans_bytes: int
    position: int


@dataclass(frozen=True, slots=True)
class LedgerProof:
    position: int
    head_hash: str
    kinds: list[Kind]
    store: StoreProof


@dataclass(frozen=True, slots=True)
class Past:
    """What was stored at `time`: the sum of all entries up to `position`."""

    time: datetime
    position: int
    head_hash: str
    kinds: list[Kind]


class ProofService:
    def __init__(self, database: Database, locations: Locations) -> None:
        self._database = database
        self._locations = locations

    async def prove(self, tenant: UUID, position: int | None) -> LedgerProof:
        """The ledger's fold and chain up to `position` (the head when None), and the store as it is now.

        Raises DomainError 409 `position_ahead`, and ChainBroken.
        """
        async with self._database.transaction(tenant) as connection:
            head = await connection.fetchval(HEAD, tenant) or 0
            position = head if position is None else position
            if position > head:
                raise DomainError("position_ahead", 409, f"The ledger ends at {head}.", head=head)
            kinds = await fold(connection, tenant, position)
            chained = await verify(connection, tenant, position)
        return LedgerProof(position, chained.hex(), kinds, await self._compare(tenant))

    async def look_back(self, tenant: UUID, time: datetime) -> Past:
        async with self._database.transaction(tenant) as connection:
            last = await connection.fetchrow(_AT, tenant, time)
            position, head = (0, GENESIS) if last is None else (last["seq"], last["hash"])
            kinds = await fold(connection, tenant, position)
        return Past(time, position, head.hex(), [kind for kind in kinds if kind.files or kind.bytes])

    async def _compare(self, tenant: UUID) -> StoreProof:
        """Lists first and reads the table afterwards, so a file stored meanwhile is looked for by itself."""
        listing = {}
        for name in self._locations.names:
            async for found in self._locations[name].walk(f"customers/{tenant}/"):
                listing[name, found.path] = found
        async with self._database.transaction(tenant) as connection:
            rows = await connection.fetch(_LIVE, tenant)  # one statement, one snapshot
        position = rows[0]["seq"] if rows else 0
        live = {(row["location"], row["path"]): row["size"] for row in rows if row["path"] is not None}
        for name, path in live.keys() - listing.keys():
            # Stored meanwhile, or adopted and left where it was.
            if (late := await self._locations[name].stat(path)) is not None:
                listing[name, path] = late
        return _account(live, listing, position)


def _account(live: Mapping[Place, int], listing: Mapping[Place, Found], position: int) -> StoreProof:
    found = {place: listing[place].size for place in live if place in listing}
    missing = sorted(path for (name, path), size in live.items() if found.get((name, path)) != size)
    orphans = sum(entry.size for place, entry in listing.items() if place not in live)
    return StoreProof(sum(found.values()), len(found), missing[:100], orphans, position)
