"""The worker's role sees all tenants: an account is its tenant's alone all the same."""

from datetime import timedelta
from uuid import uuid4

from services.upload.quota.changes import Change
from services.upload.quota.rules import Reserve, Settle
from services.upload.quota.writer import AccountWriter
from shared.db import Database
from tests.fixtures.postgres import PostgresServer, query
from tests.shared.kafka.samples import stored

_CREATE = "INSERT INTO tenant_storage (tenant_id, plan, limit_bytes, entitlements_version) VALUES ($1, 'free', 100, 1)"


async def test_the_worker_changes_one_tenants_account(pg: PostgresServer) -> None:
    dsn, ada, bob = pg.create("upload"), uuid4(), uuid4()
    for tenant in (ada, bob):
        await query(dsn.superuser, _CREATE, tenant)
    async with Database(dsn.worker) as database:
        writer = AccountWriter(database, on_commit=lambda: None)
        await writer.submit(bob, Change(Reserve(uuid4(), 60), lifetime=timedelta(seconds=-1)))
        for tenant, name in ((bob, "b.txt"), (ada, "a.txt")):
            file = stored(tenant, 10).model_copy(update={"name": name, "path": f"documents/{name}"})
            command = Settle(file.file_id, 10)
            settled = await writer.submit(tenant, Change(command, file=file, idempotency_key="k", exclusive=True))
            assert (settled.ok, settled.existing) == (True, None)
        assert (await writer.submit(ada, Change(Reserve(uuid4(), 101)))).refused == "bytes"
    rows = await query(dsn.superuser, "SELECT tenant_id, used, reserved FROM tenant_storage")
    assert {(row["tenant_id"], row["used"], row["reserved"]) for row in rows} == {(ada, 10, 0), (bob, 10, 60)}
    assert len(await query(dsn.superuser, "SELECT 1 FROM reservation")) == 1
