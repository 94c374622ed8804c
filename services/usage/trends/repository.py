from datetime import date
from typing import Any

SHOWN = 90  # days

# From the first day on of which there is a reading.
_MISSING = """
    SELECT d::date AS day FROM generate_series(
        (SELECT CASE WHEN first IS NOT NULL THEN greatest($1::date, first) END
         FROM (SELECT least((SELECT min(at) FROM storage_day), (SELECT min(at) FROM traffic_day),
                            (SELECT min(day) FROM tenant_usage)) AS first) AS f)::timestamp,
        $2::date::timestamp, '1 day') AS d
    WHERE NOT EXISTS (SELECT FROM usage_total AS t WHERE t.day = d::date) ORDER BY 1
"""

# A tenant whose last change was that day or before has what it has now; of the others the newest reading tells.
_ADD_UP = """
    INSERT INTO usage_total (day, tenants, bytes, files, bytes_in, bytes_out, requests)
    SELECT $1::date, s.tenants, s.bytes, s.files, t.bytes_in, t.bytes_out, t.requests
    FROM (
        SELECT count(*) AS tenants, coalesce(sum(l.bytes), 0) AS bytes, coalesce(sum(l.files), 0) AS files
        FROM tenant_usage AS u CROSS JOIN LATERAL (
            SELECT u.bytes, u.files WHERE u.day <= $1
            UNION ALL
            (SELECT d.bytes, d.files FROM storage_day AS d
             WHERE u.day > $1 AND d.tenant_id = u.tenant_id AND d.at <= $1 ORDER BY d.at DESC LIMIT 1)
        ) AS l
    ) AS s, (
        SELECT coalesce(sum(bytes_in), 0) AS bytes_in, coalesce(sum(bytes_out), 0) AS bytes_out,
               coalesce(sum(requests), 0) AS requests
        FROM traffic_day WHERE at = $1
    ) AS t
    ON CONFLICT DO NOTHING
"""

_LIST = """
    SELECT day, tenants, bytes, files, bytes_in, bytes_out, requests FROM usage_total ORDER BY day DESC LIMIT $1
"""


class TotalRepository:
    """All SQL on totals. Adding up wants the worker's role, which sees all tenants."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def list_missing(self, first: date, last: date) -> list[date]:
        return [row["day"] for row in await self._connection.fetch(_MISSING, first, last)]

    async def add_up(self, day: date) -> None:
        await self._connection.execute(_ADD_UP, day)

    async def list_newest(self) -> list[Any]:
        """Up to 90 days, the newest first."""
        return list(await self._connection.fetch(_LIST, SHOWN))
