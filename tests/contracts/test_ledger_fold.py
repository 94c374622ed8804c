"""What upload writes into its ledger is what usage counts: same total, same kinds, at every position."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from services.upload.blobs.local import LocalStore
from services.upload.blobs.locations import Locations
from services.upload.ledger.service import ProofService
from services.upload.quota.changes import Change, Result
from services.upload.quota.rules import Alter, Delete, Settle
from services.upload.quota.writer import AccountWriter
from services.usage.counters.rules import State, fold
from services.usage.counters.tally import Kind
from shared.db import Database
from shared.events import decode
from shared.kafka import Record
from tests.fixtures.postgres import PostgresServer, query
from tests.shared.kafka.samples import stored

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CATEGORIES = ("documents", "properties", "avatars")
PROJECTS = (None, UUID(int=1), UUID(int=2))
PEOPLE = (None, UUID(int=3), UUID(int=4))


@dataclass
class Tenant:
    """A tenant that keeps three versions, driven at random."""

    writer: AccountWriter
    chance: random.Random
    id: UUID = field(default_factory=uuid4)
    files: list[UUID] = field(default_factory=list)
    trash: list[UUID] = field(default_factory=list)

    async def step(self) -> Result:
        what = self.chance.choice(["store", "store", "replace", "replace", "move", "trash", "restore", "delete"])
        if what == "restore" and self.trash:
            return await self._restore()
        if what == "store" or not self.files:
            return await self._store(None)
        file = self.chance.choice(self.files)
        if what == "replace":
            return await self._store(file)
        if what == "move":
            values = {"category": self.chance.choice(CATEGORIES), "project_id": self.chance.choice(PROJECTS)}
            return await self._submit(Change(Alter(file), values=values))
        return await (self._trash(file) if what == "trash" else self._delete(file))

    async def _store(self, replaces: UUID | None) -> Result:
        size, category = self.chance.randrange(100), self.chance.choice(CATEGORIES)
        file = stored(self.id, size).model_copy(
            update={
                "category": category,
                "project_id": self.chance.choice(PROJECTS),
                "uploaded_by": self.chance.choice(PEOPLE),
            }
        )
        if replaces is None:
            self.files.append(file.file_id)
        return await self._submit(Change(Settle(file.file_id, size), file=file, replaces=replaces))

    async def _trash(self, file: UUID) -> Result:
        self.files.remove(file)
        self.trash.append(file)
        return await self._submit(Change(Alter(file), trash=NOW + timedelta(days=30)))

    async def _restore(self) -> Result:
        file = self.trash.pop()
        self.files.append(file)
        return await self._submit(Change(Alter(file)))

    async def _delete(self, file: UUID) -> Result:
        self.files.remove(file)
        return await self._submit(Change(Delete(file, 0)))

    async def _submit(self, change: Change) -> Result:
        return await self.writer.submit(self.id, change)


@dataclass
class Ledger:
    tenant: Tenant
    proof: ProofService
    dsn: str

    async def records(self) -> list[Record]:
        rows = await query(
            self.dsn, "SELECT * FROM storage_transaction WHERE tenant_id = $1 ORDER BY seq", self.tenant.id
        )
        return [
            Record(
                "files.v1",
                self.tenant.id,
                row["seq"],
                row["type"],
                row["body"].encode(),
                {"ce_time": row["occurred_at"].isoformat().encode()},
                None,
                event=decode(row["type"], row["body"]),
            )
            for row in rows
        ]


@pytest.fixture
async def ledger(pg: PostgresServer, tmp_path: Path) -> AsyncIterator[Ledger]:
    made = pg.create("upload")
    async with Database(made.app) as database:
        tenant = Tenant(AccountWriter(database, on_commit=lambda: None), random.Random(4))
        await query(
            made.superuser,
            "INSERT INTO tenant_storage (tenant_id, plan, entitlements_version, versions_kept) VALUES ($1, 'p', 1, 3)",
            tenant.id,
        )
        locations = Locations({"default": LocalStore(tmp_path)})
        yield Ledger(tenant, ProofService(database, locations), made.superuser)


async def test_every_event_is_counted_as_the_ledger_adds_it_up(ledger: Ledger) -> None:
    for _ in range(120):
        assert (await ledger.tenant.step()).ok
    records = await ledger.records()
    assert {record.type for record in records} == {
        f"file.{what}" for what in ("stored", "replaced", "moved", "trashed", "restored", "deleted")
    }
    for position in (1, len(records) // 2, len(records) - 1, len(records)):
        change = fold(State(ledger.tenant.id), records[:position])
        proof = await ledger.proof.prove(ledger.tenant.id, position)
        counted = {kind: (delta.bytes, delta.files) for kind, delta in change.deltas.items()}
        written: dict[Kind, tuple[int, int]] = {(k.file_type, k.category): (k.bytes, k.files) for k in proof.kinds}
        assert counted == written
        assert change.after.bytes == sum(kind.bytes for kind in proof.kinds)


async def test_trash_and_versions_are_what_the_table_holds(ledger: Ledger) -> None:
    for _ in range(120):
        await ledger.tenant.step()
    after = fold(State(ledger.tenant.id), await ledger.records()).after
    [held] = await query(
        ledger.dsn,
        """
        SELECT sum(size)::bigint AS bytes, count(*) AS files,
               sum(size) FILTER (WHERE trashed_at IS NOT NULL)::bigint AS trashed_bytes,
               count(*) FILTER (WHERE trashed_at IS NOT NULL) AS trashed_files,
               sum(size) FILTER (WHERE version_of IS NOT NULL)::bigint AS version_bytes,
               count(*) FILTER (WHERE version_of IS NOT NULL) AS version_files
        FROM stored_file WHERE tenant_id = $1
        """,
        ledger.tenant.id,
    )
    assert (after.bytes, after.files) == (held["bytes"], held["files"])
    assert (after.trashed.bytes, after.trashed.files) == (held["trashed_bytes"], held["trashed_files"])
    assert (after.versions.bytes, after.versions.files) == (held["version_bytes"], held["version_files"])


async def test_projects_hold_what_the_table_holds(ledger: Ledger) -> None:
    for _ in range(120):
        await ledger.tenant.step()
    counted: dict[UUID, tuple[int, int]] = {}
    for (project, _), amount in fold(State(ledger.tenant.id), await ledger.records()).projects.items():
        size, files = counted.get(project, (0, 0))
        counted[project] = (size + amount.bytes, files + amount.files)
    held = await query(
        ledger.dsn,
        """
        SELECT project_id, sum(size)::bigint AS bytes, count(*) AS files FROM stored_file
        WHERE tenant_id = $1 AND project_id IS NOT NULL GROUP BY project_id
        """,
        ledger.tenant.id,
    )
    assert {row["project_id"]: (row["bytes"], row["files"]) for row in held} == counted
    assert len(counted) == 2


async def test_people_hold_what_the_table_holds(ledger: Ledger) -> None:
    for _ in range(120):
        await ledger.tenant.step()
    counted = fold(State(ledger.tenant.id), await ledger.records()).users
    held = await query(
        ledger.dsn,
        """
        SELECT uploaded_by, sum(size)::bigint AS bytes, count(*) AS files FROM stored_file
        WHERE tenant_id = $1 AND uploaded_by IS NOT NULL GROUP BY uploaded_by
        """,
        ledger.tenant.id,
    )
    assert {row["uploaded_by"]: [row["bytes"], row["files"]] for row in held} == counted
    assert len(counted) == 2
