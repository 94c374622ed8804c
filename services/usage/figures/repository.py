from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.usage.figures.figure import Figure
from services.usage.figures.rules import Noted
from shared.events import Metric

_LOAD = """
    SELECT tenant_id, metric, used, remaining, month, seq FROM tenant_figure WHERE tenant_id = ANY($1::uuid[])
"""

# No look at the seq: the rows of a tenant change under the lock of its counters only, where they were read.
_SAVE = """
    INSERT INTO tenant_figure AS f (tenant_id, metric, used, remaining, month, seq, updated_at)
    SELECT *, $7::timestamptz
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::date[], $6::bigint[])
    ON CONFLICT (tenant_id, metric) DO UPDATE
    SET used = excluded.used, remaining = excluded.remaining, month = excluded.month, seq = excluded.seq,
        updated_at = excluded.updated_at
"""


class FigureRepository:
    """All SQL on figures. Runs inside the caller's transaction, under the lock of the tenants' counters."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def load(self, tenants: Sequence[UUID]) -> Mapping[UUID, dict[Metric, Figure]]:
        figures: defaultdict[UUID, dict[Metric, Figure]] = defaultdict(dict)
        for row in await self._connection.fetch(_LOAD, tenants):
            figure = Figure.stored(row["used"], row["remaining"], row["month"], row["seq"])
            figures[row["tenant_id"]][row["metric"]] = figure
        return figures

    async def save(self, noted: Sequence[Noted], now: datetime) -> None:
        rows = [
            (one.tenant_id, metric, figure.used, figure.remaining, figure.month and figure.month.first, figure.seq)
            for one in noted
            for metric, figure in one.figures.items()
        ]
        if rows:
            await self._connection.execute(_SAVE, *map(list, zip(*rows, strict=True)), now)
