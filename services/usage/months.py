"""Months as tenants have them."""

import re
from calendar import monthrange
from collections.abc import Iterable
from datetime import UTC, date, datetime, tzinfo
from typing import Any, NamedTuple, Self
from uuid import UUID
from zoneinfo import ZoneInfo

_TEXT = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_UTC = ZoneInfo("UTC")
_ELSEWHERE = "SELECT tenant_id, timezone FROM tenant WHERE tenant_id = ANY($1::uuid[]) AND timezone <> 'UTC'"


class Month(NamedTuple):
    year: int
    month: int

    @classmethod
    def of(cls, at: datetime, zone: tzinfo) -> Self:
        local = at.astimezone(zone)
        return cls(local.year, local.month)

    @classmethod
    def read(cls, text: str) -> Self:
        """Of `YYYY-MM`. Raises ValueError."""
        if not _TEXT.fullmatch(text) or text.startswith("0000"):
            raise ValueError("a month looks like 2026-03")
        return cls(int(text[:4]), int(text[5:]))

    @property
    def first(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def next(self) -> Self:
        return type(self)(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def last(self) -> date:
        return date(self.year, self.month, monthrange(self.year, self.month)[1])

    def begins(self, zone: tzinfo) -> datetime:
        """In UTC."""
        return datetime(self.year, self.month, 1, tzinfo=zone).astimezone(UTC)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


async def timezone_of(connection: Any, tenants: Iterable[UUID]) -> dict[UUID, ZoneInfo]:
    """In which the months of each begin: UTC, unless the tenant is known to have another."""
    zones = dict.fromkeys(tenants, _UTC)
    for row in await connection.fetch(_ELSEWHERE, list(zones)):
        zones[row["tenant_id"]] = ZoneInfo(row["timezone"])
    return zones
