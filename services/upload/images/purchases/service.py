"""One image above the plan's quota for credits: held at billing before it comes, settled once it is stored."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import asyncpg

from services.upload.images.purchases import repository
from services.upload.images.purchases.provider import CreditAccount, CreditsShort, Hold
from shared import faults
from shared.db import Database
from shared.errors import UpstreamError

log = logging.getLogger(__name__)

_DATABASE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


class NotHeld(Exception):
    """There are not enough credits, or it cannot be known."""


class ImagePurchases:
    """The purchase's row is there before billing hears of it, and goes when billing knows how it ended. Whoever dies in
    between leaves a row that the job works off.
    """

    def __init__(self, database: Database, credit: CreditAccount, lifetime: timedelta) -> None:
        self._database = database
        self._credit = credit
        self._lifetime = lifetime

    @asynccontextmanager
    async def paying(self, tenant: UUID, upload: UUID) -> AsyncIterator[None]:
        """In here the upload may be one above the quota; afterwards it is paid for if it is stored, and only then.
        Raises NotHeld.
        """
        try:
            async with self._database.transaction(tenant) as connection:
                await repository.open_purchase(connection, tenant, upload)
        except _DATABASE as error:
            raise NotHeld from error
        faults.reach("purchase.opened")
        hold: Hold | None = None
        try:
            hold = await self._hold(tenant, upload)
            faults.reach("purchase.held")
            yield
        finally:
            # Also when this task is cancelled.
            await asyncio.shield(asyncio.ensure_future(self._close(tenant, upload, hold)))

    async def work_off(self) -> int:
        """The job's: what requests have left behind. Returns how many purchases were ended."""
        async with self._database.transaction() as connection:
            tenants = await repository.list_dead(connection, self._lifetime)
        for tenant in tenants:
            async with self._database.transaction() as connection:
                await repository.drop_dead(connection, tenant, self._lifetime)
        async with self._database.transaction() as connection:
            due = await repository.list_due(connection)
        return sum([await self._try(row["tenant_id"], row["upload_id"], stored=row["stored"]) for row in due])

    async def _hold(self, tenant: UUID, upload: UUID) -> Hold:
        try:
            return await self._credit.hold(tenant, upload)
        except CreditsShort as error:
            with contextlib.suppress(*_DATABASE):
                await self._forget(tenant, upload)  # nothing is held
            raise NotHeld from error
        except UpstreamError as error:
            raise NotHeld from error

    async def _close(self, tenant: UUID, upload: UUID, hold: Hold | None) -> None:
        try:
            async with self._database.transaction(tenant) as connection:
                stored = await repository.close(connection, upload)
            if stored is not None:
                await self._end(tenant, upload, hold, stored=stored)
        except (CreditsShort, UpstreamError, *_DATABASE) as error:
            log.warning("the purchase of image %s is ended later: %r", upload, error)

    async def _try(self, tenant: UUID, upload: UUID, *, stored: bool) -> bool:
        try:
            await self._end(tenant, upload, None, stored=stored)
        except (CreditsShort, UpstreamError) as error:
            log.warning("the purchase of image %s is not ended: %r", upload, error)
            async with self._database.transaction() as connection:
                await repository.postpone(connection, upload, repr(error)[:500])
            return False
        return True

    async def _end(self, tenant: UUID, upload: UUID, hold: Hold | None, *, stored: bool) -> None:
        if stored:
            await self._charge(tenant, upload, hold or await self._credit.hold(tenant, upload))
        else:
            await self._give_back(tenant, upload, hold)
        faults.reach("purchase.ended")
        await self._forget(tenant, upload)

    async def _forget(self, tenant: UUID, upload: UUID) -> None:
        async with self._database.transaction(tenant) as connection:
            await repository.forget(connection, upload)

    async def _charge(self, tenant: UUID, upload: UUID, hold: Hold) -> None:
        if hold.status == "open":
            await self._credit.settle(tenant, hold)
        elif hold.status != "settled":  # billing waited for a week, then gave them back
            await self._credit.spend(tenant, upload)

    async def _give_back(self, tenant: UUID, upload: UUID, hold: Hold | None) -> None:
        """Asks for the hold once more where its answer was lost: one that is still under way then finds this one."""
        try:
            hold = hold or await self._credit.hold(tenant, upload)
        except CreditsShort:
            return
        if hold.status == "open":
            await self._credit.release(tenant, hold)
