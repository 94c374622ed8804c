"""A file is hidden from its settlement until the scanner has found it clean. In doubt it stays hidden."""

import logging
from collections.abc import AsyncIterator
from typing import Any, Protocol
from uuid import UUID

from prometheus_client import Counter

from services.upload.blobs.locations import Locations
from services.upload.files.models import StoredFile
from services.upload.quota.changes import Change, Fate
from services.upload.quota.rules import Alter
from services.upload.quota.service import AccountService
from services.upload.scans import repository, rules
from services.upload.scans.models import ScanResult
from services.upload.scans.rules import Verdict
from shared.db import Database
from shared.http import read_position

log = logging.getLogger(__name__)

SCANNED = Counter("stowage_upload_scans_total", "Files scanned, by verdict", ["verdict"])


class Scanner(Protocol):
    async def scan(self, chunks: AsyncIterator[bytes], size: int) -> Verdict:
        """Raises ScannerUnavailable, and what `chunks` raises."""
        ...


class ScanService:
    """The task `scan`. `let_large_pass`: what the scanner cannot take is given out, and the report says so."""

    def __init__(
        self,
        database: Database,
        accounts: AccountService,
        locations: Locations,
        scanner: Scanner,
        *,
        let_large_pass: bool = False,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._locations = locations
        self._scanner = scanner
        self._let_large_pass = let_large_pass

    async def scan(self, tenant: UUID, file_id: UUID) -> None:
        """Raises ScannerUnavailable, StoreUnavailable, FileNotFoundError: then the file waits, hidden."""
        async with self._database.transaction(tenant) as connection:
            file = await repository.find_waiting(connection, file_id)
        if file is None:
            return
        chunks = self._locations[file.location].read(file.path, 0, file.size)
        verdict = await self._scanner.scan(chunks, file.size)
        fate = rules.fate(verdict, let_large_pass=self._let_large_pass)
        await self._conclude(file, verdict, fate)
        SCANNED.labels(verdict.name).inc()
        if verdict.name != "clean":
            log.warning("file %s of tenant %s: %s (%s), %s", file.id, tenant, verdict.name, verdict.signature, fate)

    async def resume(self) -> None:
        """Files that wait for a scan nobody has in hand are in hand again."""
        async with self._database.transaction() as connection:
            await repository.resume(connection)

    async def _conclude(self, file: StoredFile, verdict: Verdict, fate: Fate) -> None:
        """The report first, so that no file goes without one; after a crash in between, all is done once more."""
        async with self._database.transaction(file.tenant_id) as connection:
            await repository.record(connection, file, verdict)
        tasks = ("image",) if file.file_type == "image" else ()
        # Other content, which came meanwhile, has a task of its own.
        change = Change(Alter(file.id), fate=fate, tasks=tasks, condition=lambda row: row["sha256"] == file.sha256)
        await self._accounts.submit(file.tenant_id, change)


class ScanReports:
    """What a tenant may read of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_newest(
        self, tenant: UUID, limit: int, cursor: list[Any] | None, verdict: str | None
    ) -> list[ScanResult]:
        async with self._database.transaction(tenant) as connection:
            return list(await repository.list_newest(connection, limit, read_position(cursor), verdict))
