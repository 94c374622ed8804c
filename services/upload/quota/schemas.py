"""A quota as the API shows it (S1.5)."""

from typing import Self

from pydantic import BaseModel

from services.upload.quota.rules import State
from services.upload.quota.service import quota_of
from shared.sizes import format_bytes


class QuotaOut(BaseModel):
    """Bytes, and the same for people. `limit` and `available` are null when unlimited."""

    used: int
    reserved: int
    limit: int | None
    available: int | None
    percentage: float
    can_upload: bool
    used_formatted: str
    limit_formatted: str | None
    available_formatted: str | None

    @classmethod
    def of(cls, state: State) -> Self:
        available = state.available
        return cls(
            **quota_of(state),
            can_upload=available is None or available > 0,
            used_formatted=format_bytes(state.used),
            limit_formatted=None if state.limit is None else format_bytes(state.limit),
            available_formatted=None if available is None else format_bytes(available),
        )


class AccountOut(QuotaOut):
    """Of `used`, these bytes are in the trash, and these are older versions of files."""

    trashed: int
    versions: int
