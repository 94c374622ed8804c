from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel

from services.usage.counters.rules import share
from shared.sizes import format_bytes


class UserUsageOut(BaseModel):
    """Files that `user_id` uploaded; what of them lies in the trash and in older versions is part of `bytes` and
    `files`. Null: nobody known did, less than nothing where a correction took away what is still somebody's.
    `percentage` of all that is stored.
    """

    user_id: UUID | None
    bytes: int
    bytes_formatted: str
    files: int
    trashed_bytes: int
    trashed_files: int
    version_bytes: int
    version_files: int
    percentage: float
    updated_at: datetime | None

    @classmethod
    def of(cls, row: dict[str, Any], total: int) -> Self:
        return cls(**row, bytes_formatted=format_bytes(row["bytes"]), percentage=share(row["bytes"], total))


class UsersOut(BaseModel):
    """A page, of one moment: all pages of a position sum to what the tenant has, for those who may see everybody."""

    items: list[UserUsageOut]
    next_cursor: str | None
    bytes: int
    files: int
    trashed_bytes: int
    trashed_files: int
    version_bytes: int
    version_files: int
    position: int
    as_of: datetime
