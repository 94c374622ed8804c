"""The HTTP process, as the gateway meets it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import aiohttp

from services.usage.counters.service import CounterService
from services.usage.entitlements.rules import Terms
from services.usage.main import create
from services.usage.settings import Settings
from services.usage.thresholds.service import ThresholdService
from services.usage.traffic.service import TrafficService
from shared.clock import FixedClock, SystemClock
from shared.db import Database
from shared.http.server import server_for
from shared.kafka.records import Record
from shared.security import Principal, sign
from shared.security.principal import Role
from tests.fixtures.postgres import ServiceDatabase
from tests.services.usage.fakes import FakeBilling, FakeLedger
from tests.services.usage.neighbours import neighbours
from tests.services.usage.samples import START, TENANT
from tests.services.usage.sums import assert_sums

SECRET = "0123456789abcdef0123456789abcdef"
SERVICE = Principal(kind="service")


def person(tenant: UUID = TENANT, role: Role = "member") -> Principal:
    return Principal(kind="user", user_id=uuid4(), tenant_id=tenant, role=role)


@dataclass(frozen=True)
class Api:
    url: str
    billing: FakeBilling
    ledger: FakeLedger
    worker: Database
    http: aiohttp.ClientSession

    async def apply(self, *records: Record) -> None:
        counters = CounterService(ThresholdService(), FixedClock(START))
        async with self.worker.transaction() as connection:
            await counters.apply(connection, records)

    async def moved(self, *records: Record) -> None:
        async with self.worker.transaction() as connection:
            await CounterService(ThresholdService(), SystemClock()).apply(connection, records)
            await TrafficService(FixedClock(START)).apply(connection, records)

    async def get(self, path: str, *, tenant: UUID = TENANT, as_: Principal | None = None) -> tuple[int, Any]:
        return await self.call("GET", path, as_=as_ or person(tenant))

    async def call(self, method: str, path: str, body: Any = None, *, as_: Principal | None = None) -> tuple[int, Any]:
        who = as_ or person(role="owner")
        headers = {"stowage-internal": sign(who, secret=SECRET, audience="usage", issuer="gateway")}
        async with self.http.request(method, self.url + path, headers=headers, json=body) as response:
            answer = await response.json(content_type=None)
        if response.status == 200:
            assert_sums(answer, whole=who.manages and "cursor=" not in path)
        return response.status, answer


@asynccontextmanager
async def serving(dsn: ServiceDatabase, worker: Database, **changes: Any) -> AsyncIterator[Api]:
    billing, ledger = FakeBilling(Terms(1, "free", 100)), FakeLedger()
    async with neighbours(billing, ledger) as address, aiohttp.ClientSession() as http:
        settings = Settings(
            mode="local",
            port=0,
            database_url=dsn.app,
            kafka_bootstrap="",
            internal_secret=SECRET,
            upload_url=address,
            billing_url=address,
            gateway_url=address,
            **changes,
        )
        server = server_for(create(settings), settings)
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Api(f"http://127.0.0.1:{port}", billing, ledger, worker, http)
        server.should_exit = True
        await task
