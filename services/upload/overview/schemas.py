"""A tenant's storage at a glance."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel

from services.upload.quota.rules import State
from services.upload.quota.schemas import QuotaOut
from shared.sizes import format_bytes


class StoredAmountOut(BaseModel):
    files: int
    bytes: int


class StoredCategoryOut(StoredAmountOut):
    category: str


class StorageInfoOut(BaseModel):
    """Bytes. `used` is files, versions and trash together; `limit` and `available` are null when unlimited.

    The categories add up to `used`. `trash_days`: how long deleted files are kept, 0 for not at all.
    """

    plan: str
    used: int
    reserved: int
    limit: int | None
    available: int | None
    used_formatted: str
    limit_formatted: str | None
    files: int
    trash: StoredAmountOut
    versions: StoredAmountOut
    trash_days: int
    versions_kept: int
    last_cleanup: datetime | None
    categories: list[StoredCategoryOut]

    @classmethod
    def of(cls, account: Any) -> Self:
        kinds = account["kinds"]
        limit, taken = account["limit_bytes"], account["used"] + account["reserved"]
        return cls(
            plan=account["plan"],
            used=account["used"],
            reserved=account["reserved"],
            limit=limit,
            available=None if limit is None else max(0, limit - taken),
            used_formatted=format_bytes(account["used"]),
            limit_formatted=None if limit is None else format_bytes(limit),
            files=account["files"],
            trash=_sum(kinds, "trash_"),
            versions=_sum(kinds, "version_"),
            trash_days=account["trash_days"],
            versions_kept=account["versions_kept"],
            last_cleanup=account["last_cleanup"],
            categories=[StoredCategoryOut(category=k["category"], files=k["files"], bytes=k["bytes"]) for k in kinds],
        )


def _sum(kinds: list[Any], prefix: str) -> StoredAmountOut:
    return StoredAmountOut(files=sum(k[f"{prefix}files"] for k in kinds), bytes=sum(k[f"{prefix}bytes"] for k in kinds))


class GlanceOut(BaseModel):
    """The account at ledger entry `position`, and the ten newest uploads."""

    position: int
    quota: QuotaOut
    recent_uploads: list[dict[str, Any]]

    @classmethod
    def of(cls, account: Any) -> Self:
        state = State(account["limit_bytes"], account["used"], account["reserved"])
        return cls(position=account["seq"], quota=QuotaOut.of(state), recent_uploads=account["recent"])
