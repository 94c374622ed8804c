from datetime import timedelta
from uuid import UUID

from services.usage.counters.reader import CounterReader
from services.usage.errors import EntitlementsUnknown
from services.usage.forecast.repository import find_days
from services.usage.forecast.rules import WINDOW, Filling, forecast_storage, forecast_traffic
from services.usage.forecast.schemas import ForecastOut, ForecastsOut
from services.usage.history.buckets import begin, day_of, end
from services.usage.months import timezone_of
from shared.clock import Clock
from shared.db import Database


class ForecastService:
    """When storage and the month's traffic will be used up, by the trend of the last days."""

    def __init__(self, database: Database, reader: CounterReader, clock: Clock) -> None:
        self._database = database
        self._reader = reader
        self._clock = clock

    async def forecast(self, tenant: UUID) -> ForecastsOut:
        """Raises EntitlementsUnknown."""
        try:
            return await self._forecast(tenant)
        except EntitlementsUnknown:
            await self._reader.read(tenant)  # asks billing, once
            return await self._forecast(tenant)

    async def _forecast(self, tenant: UUID) -> ForecastsOut:
        async with self._database.transaction(tenant) as connection:
            zone = (await timezone_of(connection, [tenant]))[tenant]
            now = self._clock.now()
            today, month = day_of(now, zone), begin(now, "month", zone)
            reset = end(month, "month", zone)
            first, following = day_of(month, zone), day_of(reset, zone)
            found = await find_days(connection, tenant, today - timedelta(days=WINDOW), first, following)
        if found is None or not found.known:
            raise EntitlementsUnknown
        storage = Filling(found.used, found.limit, now, zone)
        traffic = Filling(sum(found.moved.values()), found.traffic_limit, now, zone)
        lasts = forecast_traffic(found.moved, traffic, found.first_moved, following)
        return ForecastsOut(
            timezone=zone.key,
            as_of=now,
            position=found.position,
            storage=ForecastOut.of(storage, forecast_storage(found.stored, storage), None),
            traffic=ForecastOut.of(traffic, lasts, reset.astimezone(zone)),
        )
