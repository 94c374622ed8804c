"""The service over HTTP with what its worker does, on a database of its own."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp

from services.usage.counters.handlers import UsageHandler
from services.usage.counters.service import CounterService
from services.usage.dispatch import Dispatch
from services.usage.main import create
from services.usage.management.calculation import CALCULATIONS, Calculator
from services.usage.management.handlers import CleanupHandler
from services.usage.rebuild.service import Rebuilder
from services.usage.schemas.provisioner import Provisioner
from services.usage.settings import Settings
from services.usage.tenants.handlers import IsolationHandler, TenantHandler
from services.usage.tenants.models import Isolation
from services.usage.thresholds.service import ThresholdService
from shared.clock import SystemClock
from shared.db import Database
from shared.http.server import server_for
from shared.kafka.records import Record
from shared.security import Principal, sign
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.usage.fakes import FakeFolds
from tests.services.usage.samples import told
from tests.services.usage.sums import assert_sums

SECRET = "0123456789abcdef0123456789abcdef"
ADMIN = Principal(kind="user", user_id=uuid4(), is_admin=True)


@dataclass(frozen=True)
class World:
    """`isolation` is what new tenants get."""

    url: str
    http: aiohttp.ClientSession
    dsn: ServiceDatabase
    worker: Database
    isolation: Isolation
    folds: FakeFolds = field(default_factory=FakeFolds)

    @property
    def provisioner(self) -> Provisioner:
        return Provisioner(self.worker)

    @property
    def calculator(self) -> Calculator:
        clock = SystemClock()
        rebuilder = Rebuilder(self.worker, self.folds, CounterService(ThresholdService(), clock), clock)
        return Calculator(self.worker, rebuilder, clock)

    async def apply(self, *records: Record) -> None:
        """As the consumer does, in one transaction."""
        self.folds.entries += records
        async with self.worker.transaction() as connection:
            await self.apply_within(connection, *records)

    async def apply_within(self, connection: Any, *records: Record) -> None:
        clock = SystemClock()
        counters = CounterService(ThresholdService(), clock)
        usage = UsageHandler(counters, clock, changed=lambda _: None, announced=lambda: None)
        dispatch = Dispatch(
            [
                (frozenset({"tenants.v1"}), TenantHandler(self.isolation, lambda: None)),
                (frozenset({"entitlements.v1"}), IsolationHandler(self.isolation, lambda: None)),
                (frozenset({"files.v1", "entitlements.v1", "traffic.v1", "tenants.v1", "billing.v1"}), usage),
                (frozenset({"files.v1"}), CleanupHandler()),
            ]
        )
        await dispatch.apply(connection, records)

    async def sign_up(self, *records: Record) -> UUID:
        """A new tenant with what it has stored already, provisioned."""
        tenant = records[0].tenant_id if records else uuid4()
        await self.apply(told(tenant), *records)
        await self.provisioner.settle()
        return tenant

    async def get(self, tenant: UUID) -> tuple[int, Any]:
        who = Principal(kind="user", user_id=uuid4(), tenant_id=tenant, role="member")
        return await self.call("GET", "/api/usage/storage-management", who)

    async def call(self, method: str, path: str, who: Principal = ADMIN, **body: object) -> tuple[int, Any]:
        headers = {"stowage-internal": sign(who, secret=SECRET, audience="usage", issuer="gateway")}
        async with self.http.request(method, self.url + path, headers=headers, json=body or None) as response:
            answer = await response.json(content_type=None)
        if response.status == 200:
            assert_sums(answer, whole=False)
        return response.status, answer

    async def schema_of(self, tenant: UUID) -> str:
        row = (await query(self.dsn.superuser, "SELECT number FROM tenant WHERE tenant_id = $1", tenant))[0]
        return f"client_{row['number']}"

    async def schemas(self) -> set[str]:
        return {row[0] for row in await query(self.dsn.superuser, "SELECT nspname FROM pg_namespace")}

    async def place_of(self, tenant: UUID) -> str | None:
        rows = await query(self.dsn.superuser, "SELECT place FROM tenant WHERE tenant_id = $1", tenant)
        return str(rows[0]["place"]) if rows[0]["place"] else None

    async def age(self, tenant: UUID, by: timedelta) -> None:
        """As if it had been calculated so much earlier."""
        place = await self.place_of(tenant)
        table = f"{await self.schema_of(tenant)}.storage_management" if place == "schema" else "storage_management"
        only = "" if place == "schema" else f" WHERE tenant_id = '{tenant}'"
        sql = f"UPDATE {table} SET last_calculation = last_calculation - $1::interval{only}"
        await query(self.dsn.superuser, sql, by)
        sql = "UPDATE tenant SET calculated_at = calculated_at - $1::interval WHERE tenant_id = $2"
        await query(self.dsn.superuser, sql, by, tenant)

    async def put(self, tenant: UUID, isolation: Isolation) -> None:
        """Chosen by an administrator, and moved."""
        path = f"/api/admin/usage/tenants/{tenant}/isolation"
        assert (await self.call("PUT", path, isolation=isolation))[0] == 202
        await self.provisioner.settle()


@asynccontextmanager
async def world(dsn: ServiceDatabase, isolation: Isolation) -> AsyncIterator[World]:
    settings = Settings(
        mode="local",
        port=0,
        database_url=dsn.app,
        kafka_bootstrap="",
        internal_secret=SECRET,
        upload_url="http://127.0.0.1:1",
        billing_url="http://127.0.0.1:1",
        gateway_url="http://127.0.0.1:1",
    )
    server = server_for(create(settings), settings)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    async with aiohttp.ClientSession() as http, Database(dsn.worker) as worker:
        yield World(url, http, dsn, worker, isolation)
    server.should_exit = True
    await serving


def calculations(reason: str) -> dict[str, float]:
    """How many there were so far in this process, by outcome."""
    samples = itertools.chain.from_iterable(metric.samples for metric in CALCULATIONS.collect())
    return {
        sample.labels["outcome"]: sample.value
        for sample in samples
        if sample.name.endswith("_total") and sample.labels["reason"] == reason
    }
