from services.usage.trends.repository import TotalRepository
from services.usage.trends.rules import Total, course_of_storage, course_of_traffic
from services.usage.trends.schemas import TrendsOut
from shared.clock import Clock
from shared.db import Database


class TrendReader:
    """What all tenants together store and move, from sums the worker has made: 90 rows, however many tenants."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def read(self) -> TrendsOut:
        async with self._database.transaction() as connection:
            rows = await TotalRepository(connection).list_newest()
        days = [
            Total(row["day"], row["tenants"], int(row["bytes"]), int(row["bytes_in"] + row["bytes_out"]))
            for row in reversed(rows)
        ]
        storage, traffic = (course_of_storage(days), course_of_traffic(days)) if days else (None, None)
        return TrendsOut.of(days, storage, traffic, self._clock.now())
