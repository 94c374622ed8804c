"""Months as tenants have them."""

import re
from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import Any, NamedTuple, Self
from uuid import UUID
from zoneinfo import ZoneInfo

_TEXT = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_UTC = ZoneInfo("UTC")


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

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


async def timezone_of(connection: Any, tenants: Iterable[UUID]) -> dict[UUID, ZoneInfo]:  # noqa: ARG001
    """In which the months of each begin: UTC, until tenants say another."""
    return dict.fromkeys(tenants, _UTC)
