"""What upload writes to put its books right is counted by usage as the ledger adds it up."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from services.upload.blobs.local import LocalStore
from services.upload.blobs.locations import Locations
from services.upload.ledger.service import ProofService
from services.upload.quota.adjusting import adjust, lock
from services.upload.quota.changes import Change
from services.upload.quota.rules import Delete, Settle
from services.upload.quota.writer import AccountWriter
from services.upload.reconciliation.rules import Amount, Look, adjustments
from services.usage.counters.rules import State, fold
from shared.db import Database
from tests.contracts.tenants import records_of
from tests.fixtures.postgres import PostgresServer, query
from tests.shared.kafka.samples import stored

_CREATE = "INSERT INTO tenant_storage (tenant_id, plan, entitlements_version) VALUES ($1, 'p', 1)"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_adjustments_between_other_entries(pg: PostgresServer, tmp_path: Path) -> None:
    dsn, tenant = pg.create("upload"), uuid4()
    await query(dsn.superuser, _CREATE, tenant)
    kind, other = ("document", "documents"), ("image", "avatars")
    look = Look(2, {kind: Amount(50, 2)}, {kind: Amount(10, 1), other: Amount(7, 3)}, Amount(49, 2))
    async with Database(dsn.app) as database:
        writer = AccountWriter(database, on_commit=lambda: None)
        files = [stored(tenant, 20), stored(tenant, 30)]
        for file in files:
            await writer.submit(tenant, Change(Settle(file.file_id, file.size), file=file))
        events, account = adjustments(tenant, uuid4(), NOW, look, set())
        async with database.transaction(tenant) as connection:
            head = await lock(connection, tenant)
            assert head is not None
            await adjust(connection, tenant, head, events, account.bytes, account.files)
        more = stored(tenant, 5)
        await writer.submit(tenant, Change(Settle(more.file_id, 5), file=more))
        await writer.submit(tenant, Change(Delete(more.file_id, 0)))
        written = await records_of(dsn.superuser, tenant)
        assert [record.type for record in written] == [
            *["file.stored"] * 2,
            *["storage.adjusted"] * 3,
            *("file.stored", "file.deleted"),
        ]
        ledger = ProofService(database, Locations({"default": LocalStore(tmp_path)}))
        for position in range(len(written) + 1):
            change = fold(State(tenant), written[:position])
            proof = await ledger.prove(tenant, position)
            counted = {kind: (delta.bytes, delta.files) for kind, delta in change.deltas.items()}
            assert counted == {(k.file_type, k.category): (k.bytes, k.files) for k in proof.kinds if k.category}
            assert (change.after.bytes, change.after.files) == (
                sum(k.bytes for k in proof.kinds),
                sum(k.files for k in proof.kinds),
            )
    assert (change.after.bytes, change.after.files) == (17, 4)
    [row] = await query(dsn.superuser, "SELECT used, files FROM tenant_storage WHERE tenant_id = $1", tenant)
    assert tuple(row) == (17, 4)
