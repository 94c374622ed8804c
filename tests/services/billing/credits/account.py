"""One team's credits on a database of its own, by a clock that stands still."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from services.billing.credits.balance import CreditBalance
from services.billing.credits.catalogue import load_credits
from services.billing.credits.commands import Result
from services.billing.credits.repository import set_timezone
from services.billing.credits.rules import Source
from services.billing.credits.service import CreditService
from shared.clock import FixedClock
from shared.db import Database
from tests.fixtures.postgres import ServiceDatabase

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Account:
    database: Database
    service: CreditService
    balance: CreditBalance
    clock: FixedClock
    tenant: UUID = field(default_factory=uuid4)

    async def open(self, timezone: str = "UTC") -> None:
        async with self.database.transaction(self.tenant) as connection:
            await set_timezone(connection, self.tenant, timezone)

    async def add(
        self, amount: int, source: Source = "system_bonus", *, days: float | None = None, client_id: str | None = None
    ) -> Result:
        expires_at = None if days is None else self.clock.now() + timedelta(days=days)
        name = client_id or uuid4().hex
        return await self.service.add(
            self.tenant, amount, source, "For a test", client_id=name, by="test", expires_at=expires_at
        )

    async def spend(self, amount: int, *, client_id: str | None = None) -> Result:
        name = client_id or uuid4().hex
        return await self.service.spend(self.tenant, "image", amount, client_id=name, by="upload")

    async def reserve(self, amount: int, seconds: int = 600, *, client_id: str | None = None) -> Result:
        name = client_id or uuid4().hex
        lifetime = timedelta(seconds=seconds)
        return await self.service.reserve(self.tenant, "image", amount, lifetime, client_id=name, by="upload")

    async def settle(self, held: Result, quantity: int | None = None) -> Result:
        assert held.reservation is not None
        return await self.service.settle(self.tenant, held.reservation.id, quantity, by="upload")

    async def release(self, held: Result) -> Result:
        assert held.reservation is not None
        return await self.service.release(self.tenant, held.reservation.id, by="upload")

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        async with self.database.transaction(self.tenant) as connection:
            return list(await connection.fetch(sql, *values))

    async def amount(self) -> int:
        return (await self.balance.now(self.tenant)).balance


@asynccontextmanager
async def opened(created: ServiceDatabase, *, pool_size: int = 10) -> AsyncIterator[Account]:
    async with Database(created.app, pool_size=pool_size) as database:
        clock = FixedClock(BEGIN)
        service = CreditService(database, load_credits(), clock, lambda: None)
        account = Account(database, service, CreditBalance(database, service, clock), clock)
        await account.open()
        yield account
