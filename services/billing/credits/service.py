"""Credits given, held and spent. Commands of one tenant that come together are one commit."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from services.billing.credits import repository
from services.billing.credits.catalogue import CreditCatalogue, Use
from services.billing.credits.commands import Add, Command, Release, Reserve, Result, Settle, Spend, Sweep
from services.billing.credits.errors import (
    ClientIdReused,
    CreditsInsufficient,
    ExpiryPast,
    ReservationClosed,
    ReservationNotFound,
    SettledTooMuch,
    TenantNotFound,
    UseUnknown,
)
from services.billing.credits.rules import Source
from shared.clock import Clock
from shared.db import Database, GroupCommit

log = logging.getLogger(__name__)

COMMANDS = Counter("stowage_billing_credit_commands_total", "Commands to credits", ["command", "outcome"])


class CreditService:
    def __init__(
        self, database: Database, catalogue: CreditCatalogue, clock: Clock, wake: Callable[[], object]
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._clock = clock
        self._commits: GroupCommit[Command, Result] = GroupCommit(database, self._commit, on_commit=wake)

    async def add(
        self,
        tenant: UUID,
        amount: int,
        source: Source,
        description: str,
        *,
        client_id: str,
        by: str,
        expires_at: datetime | None = None,
    ) -> Result:
        """`add_credits` (S3.3), for administrators and services only.

        Raises ClientIdReused, TenantNotFound, ExpiryPast.
        """
        said: dict[str, Any] = {"source": source, "amount": amount, "description": description}
        said["expires_at"] = None if expires_at is None else expires_at.isoformat()
        priority = self._catalogue.grant_priority
        command = Add(f"grant:{client_id}", said, source, amount, description, by, priority, expires_at)
        async with self._database.transaction(tenant) as connection:
            if not await repository.is_known(connection, tenant):
                raise TenantNotFound
        if expires_at is not None and expires_at <= self._clock.now():
            raise ExpiryPast
        return await self._submit(tenant, command)

    async def spend(self, tenant: UUID, use: str, quantity: int, *, client_id: str, by: str) -> Result:
        """Raises CreditsInsufficient, ClientIdReused, UseUnknown."""
        return await self._submit(tenant, Spend(f"spend:{client_id}", use, quantity, self.find_use(use).cost, by))

    async def reserve(
        self, tenant: UUID, use: str, quantity: int, lifetime: timedelta, *, client_id: str, by: str
    ) -> Result:
        """Raises CreditsInsufficient, ClientIdReused, UseUnknown."""
        command = Reserve(f"reserve:{client_id}", use, quantity, self.find_use(use).cost, by, lifetime)
        return await self._submit(tenant, command)

    async def settle(self, tenant: UUID, reservation: UUID, quantity: int | None, *, by: str) -> Result:
        """Raises ReservationNotFound, ReservationClosed, SettledTooMuch."""
        return await self._submit(tenant, Settle(reservation, quantity, by))

    async def release(self, tenant: UUID, reservation: UUID, *, by: str) -> Result:
        """Raises ReservationNotFound, ReservationClosed."""
        return await self._submit(tenant, Release(reservation, by))

    def find_use(self, use: str) -> Use:
        """Raises UseUnknown."""
        found = self._catalogue.uses.get(use)
        if found is None:
            raise UseUnknown(use)
        return found

    async def sweep(self, tenant: UUID) -> None:
        """Closes what is over."""
        await self._submit(tenant, Sweep())

    async def sweep_due(self) -> int:
        """A job's work: tenants in which something was over."""
        async with self._database.transaction() as connection:
            tenants = await repository.list_due(connection, self._clock.now())
        for tenant in tenants:
            try:
                await self.sweep(tenant)
            except Exception:
                # The others must not wait for that one; it is due again the next time.
                log.exception("the credits of %s could not be swept", tenant)
        return len(tenants)

    async def _submit(self, tenant: UUID, command: Command) -> Result:
        done = await self._commits.submit(tenant, command)
        name = type(command).__name__.lower()
        error = _error_of(done)
        COMMANDS.labels(name, "refused" if error else "repeated" if done.repeated else "done").inc()
        if error is not None:
            raise error
        return done

    async def _commit(self, connection: Any, tenant: UUID, commands: list[Command]) -> list[Result]:
        return await repository.commit_batch(connection, tenant, commands, self._clock.now())


def _error_of(done: Result) -> Exception | None:
    if done.missing:
        return CreditsInsufficient(done.available, done.missing)
    if done.reused:
        return ClientIdReused()
    if done.unknown:
        return ReservationNotFound()
    if done.closed and done.reservation is not None:
        held = done.reservation
        return SettledTooMuch(held.quantity) if held.status == "open" else ReservationClosed(held.status)
    return None
