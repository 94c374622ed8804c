"""The job that erases a tenant. Each step finds out by itself what is left to do, so a death costs nothing but time."""

import asyncio
import logging
from typing import Any
from uuid import UUID

import asyncpg

from services.upload.blobs.locations import Locations
from services.upload.blobs.store import BlobStore
from services.upload.direct.cleanup import DirectCleanup
from services.upload.erasure import repository, rules
from services.upload.quota.changes import Change
from services.upload.quota.rules import Release
from services.upload.quota.service import AccountService
from services.upload.resumable.expiry import ResumableExpiry
from services.upload.wiring import FILES
from shared import faults
from shared.clock import Clock
from shared.db import Database
from shared.db.database import savepoint
from shared.errors import DomainError
from shared.security import signatures

log = logging.getLogger(__name__)

TOGETHER = 256
REMOVED = 1000  # objects at a time
_TROUBLE = (DomainError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)  # of one tenant, not of the others
PREFIXES = ("customers/{}/", "derived/{}/", "exports/{}/", "parts/{}/")


class NotYet(Exception):
    """Something has to happen elsewhere first; the next turn looks again."""


class Eraser:
    """`secret` signs the certificates."""

    def __init__(
        self,
        database: Database,
        locations: Locations,
        accounts: AccountService,
        uploads: ResumableExpiry,
        direct: DirectCleanup,
        secret: str,
        clock: Clock,
    ) -> None:
        self._database = database
        self._uploads = uploads
        self._direct = direct
        self._locations = locations
        self._accounts = accounts
        self._secret = secret
        self._clock = clock

    async def run(self) -> dict[str, Any] | None:
        async with self._database.transaction() as connection:
            pending = await repository.list_pending(connection)
        erased = [str(row["tenant_id"]) for row in pending if await self._try(row)]
        return {"erased": erased} if erased else None

    async def _try(self, row: Any) -> bool:
        try:
            await self._erase(row)
        except (NotYet, *_TROUBLE) as error:
            log.warning("the erasure of %s waits: %s", row["tenant_id"], error)
            async with self._database.transaction() as connection:
                await repository.say(connection, row["tenant_id"], str(error))
            return False
        return True

    async def _erase(self, row: Any) -> None:
        tenant: UUID = row["tenant_id"]
        await self._end_uploads(tenant)
        await self._delete_files(tenant, row["requested_by"])
        await self._empty_tables(tenant)
        await self._empty_stores(tenant)
        left = await self._list_stores(tenant)
        if any(left.values()):
            raise NotYet(f"objects are left: {left}")
        await self._remember(row)
        await self._redact(tenant)
        await self._certify(row, left)

    async def _end_uploads(self, tenant: UUID) -> None:
        async with self._database.transaction() as connection:
            await repository.expire_uploads(connection, tenant)
        await self._uploads.run()
        await self._direct.remove_expired()

    async def _delete_files(self, tenant: UUID, by: UUID | None) -> None:
        """One by one through the ledger: the counters follow, here and wherever else they are kept."""
        while True:
            async with self._database.transaction() as connection:
                files = await repository.list_files(connection, tenant, TOGETHER)
                held = await repository.list_reservations(connection, tenant, TOGETHER)
            if not files and not held:
                return
            await asyncio.gather(
                *(self._accounts.delete(tenant, file, by) for file in files),
                *(self._accounts.submit(tenant, Change(Release(upload))) for upload in held),
            )
            faults.reach("upload.erasing")

    async def _empty_tables(self, tenant: UUID) -> None:
        async with self._database.transaction() as connection:
            tables = await repository.list_tables(connection)
        while tables:
            left = []
            async with self._database.transaction() as connection:
                for table in tables:
                    try:
                        async with savepoint(connection):
                            await repository.empty_table(connection, table, tenant)
                    except asyncpg.ForeignKeyViolationError:
                        left.append(table)  # when what refers to it is empty
            if left == tables:
                raise NotYet(f"rows refer to each other: {left}")
            tables = left

    async def _empty_stores(self, tenant: UUID) -> None:
        while True:
            async with self._database.transaction() as connection:
                places = await repository.list_garbage(connection, tenant)
                for name in {location for location, _ in places}:
                    await self._locations[name].delete_all([path for location, path in places if location == name])
                if places:
                    await repository.forget_garbage(connection, places)
            if not places:
                break
            faults.reach("upload.emptying")
        for name in self._locations.names:
            for prefix in PREFIXES:
                await self._empty(self._locations[name], prefix.format(tenant))

    async def _empty(self, store: BlobStore, prefix: str) -> None:
        paths = []
        async for found in store.walk(prefix):
            paths.append(found.path)
            if len(paths) == REMOVED:
                await store.delete_all(paths)
                faults.reach("upload.emptying")
                paths = []
        if paths:
            await store.delete_all(paths)

    async def _list_stores(self, tenant: UUID) -> dict[str, int]:
        left = {}
        for name in self._locations.names:
            left[name] = 0
            for prefix in PREFIXES:
                async for _ in self._locations[name].walk(prefix.format(tenant)):
                    left[name] += 1
        return left

    async def _remember(self, row: Any) -> None:
        """What was removed, while the ledger still says it; and not before everybody else has heard it."""
        tenant = row["tenant_id"]
        async with self._database.transaction() as connection:
            head = await repository.lock_head(connection, tenant)
            if head["files"]:
                raise NotYet("a file was stored meanwhile")
            if await repository.published(connection, FILES.topic, tenant) < head["seq"]:
                raise NotYet("the ledger is not published to its end")
            if not await repository.is_redacted(connection, tenant):
                removed = await repository.list_removed(connection, tenant, row["from_seq"])
                said = {
                    "files": len(removed),
                    "bytes": sum(entry["file_size"] for entry in removed),
                    "hashes": rules.hash_of_hashes(entry["sha256"] for entry in removed),
                }
                await repository.remember(connection, tenant, said)

    async def _redact(self, tenant: UUID) -> None:
        while True:
            async with self._database.transaction() as connection:
                done = await repository.redact(connection, tenant)
            faults.reach("upload.redacted")
            if done < repository.REDACTED:
                return

    async def _certify(self, row: Any, left: dict[str, int]) -> None:
        tenant, now = row["tenant_id"], self._clock.now()
        async with self._database.transaction() as connection:
            head = await repository.lock_head(connection, tenant)
            found = await repository.find(connection, tenant)
            text = rules.certificate(
                str(tenant),
                requested_at=row["requested_at"],
                ended_at=now,
                removed=found["removed"] if found is not None else {},
                ledger={"position": head["seq"], "head_hash": head["head_hash"].hex(), "used": head["used"]},
                stores=left,
            )
            await repository.end(connection, tenant, now, text, signatures.make(self._secret, "erasure", text))
