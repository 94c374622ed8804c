"""Who an invoice is made out to."""

from datetime import datetime
from uuid import UUID

from services.billing.details import repository
from services.billing.details.parties import Buyer
from shared.clock import Clock
from shared.db import Database


class DetailsService:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, tenant: UUID) -> tuple[Buyer, datetime | None]:
        """With the moment they were entered; None while they are only what is known of the team."""
        async with self._database.transaction(tenant) as connection:
            return await repository.get(connection, tenant)

    async def put(self, tenant: UUID, buyer: Buyer, by: UUID | None) -> tuple[Buyer, datetime | None]:
        """From the next invoice on; those that were issued stay as they are."""
        async with self._database.transaction(tenant) as connection:
            await repository.put(connection, tenant, buyer, self._clock.now(), by)
            return await repository.get(connection, tenant)
