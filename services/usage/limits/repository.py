from typing import Any
from uuid import UUID

from services.usage.metering.repository import DISK
from shared.events import Metric

# Less than a snapshot: whoever asks before every request waits for this. $2 is the metric.
_STANDING = f"""
    SELECT u.position, u.entitlements_version, u.plan, u.limit_bytes, u.limits, c.items,
           coalesce(t.timezone, 'UTC') AS timezone, statement_timestamp() AS as_of,
           CASE $2::text
               WHEN 'storage' THEN u.bytes
               WHEN 'traffic' THEN coalesce(m.traffic_in + m.traffic_out, 0)
               WHEN 'images' THEN coalesce(m.images, 0)
               WHEN 'requests' THEN coalesce(m.requests, 0)
               WHEN 'disk' THEN ({DISK.format(tenant="u.tenant_id")})
           END AS used,
           coalesce(m.traffic_bought, 0) AS bought_traffic, f.used AS told, f.remaining, f.month
    FROM tenant_usage AS u
    LEFT JOIN tenant AS t ON t.tenant_id = u.tenant_id
    LEFT JOIN tenant_month AS m ON m.tenant_id = u.tenant_id
        AND m.year = extract(year FROM statement_timestamp() AT TIME ZONE coalesce(t.timezone, 'UTC'))::int
        AND m.month = extract(month FROM statement_timestamp() AT TIME ZONE coalesce(t.timezone, 'UTC'))::int
    LEFT JOIN tenant_figure AS f ON f.tenant_id = u.tenant_id AND f.metric = $2
    LEFT JOIN threshold_choice AS c ON c.tenant_id = u.tenant_id AND c.metric = $2
    WHERE u.tenant_id = $1
"""


async def find(connection: Any, tenant: UUID, metric: Metric) -> Any | None:
    return await connection.fetchrow(_STANDING, tenant, metric)
