"""What upload writes into its ledger is what usage counts: same total, same kinds, at every position."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from services.upload.blobs.local import LocalStore
from services.upload.blobs.locations import Locations
from services.upload.ledger.service import ProofService
from services.upload.quota.writer import AccountWriter
from services.usage.counters.rules import State, fold
from services.usage.counters.tally import Kind
from shared.db import Database
from shared.kafka import Record
from tests.contracts.tenants import Tenant, records_of
from tests.fixtures.postgres import PostgresServer, query


@dataclass
class Ledger:
    tenant: Tenant
    proof: ProofService
    dsn: str

    async def records(self) -> list[Record]:
        return await records_of(self.dsn, self.tenant.id)


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
    assert {row["uploaded_by"].int: [row["bytes"], row["files"]] for row in held} == counted
    assert len(counted) == 2


@pytest.mark.parametrize(
    ("part", "columns"), [("kinds", "file_type, category"), ("projects", "project_id"), ("users", "uploaded_by")]
)
async def test_trash_and_versions_of_each_part_are_what_the_table_holds(
    ledger: Ledger, part: str, columns: str
) -> None:
    for _ in range(120):
        await ledger.tenant.step()
    hidden = getattr(fold(State(ledger.tenant.id), await ledger.records()).hidden, part)
    held = await query(
        ledger.dsn,
        f"""
        SELECT {columns}, coalesce(sum(size) FILTER (WHERE trashed_at IS NOT NULL), 0)::bigint AS trashed_bytes,
               count(*) FILTER (WHERE trashed_at IS NOT NULL) AS trashed_files,
               coalesce(sum(size) FILTER (WHERE version_of IS NOT NULL), 0)::bigint AS version_bytes,
               count(*) FILTER (WHERE version_of IS NOT NULL) AS version_files
        FROM stored_file WHERE tenant_id = $1 AND ({columns}) IS NOT NULL GROUP BY {columns}
        """,
        ledger.tenant.id,
    )
    there = {tuple(row.values())[:-4]: list(row.values())[-4:] for row in held}
    counted = {key if isinstance(key, tuple) else (key,): amounts for key, amounts in hidden.items()}
    assert {key: amounts for key, amounts in counted.items() if any(amounts)} == {
        key: amounts for key, amounts in there.items() if any(amounts)
    }
    assert any(amounts[0] for amounts in there.values())
    assert any(amounts[2] for amounts in there.values())
