from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from services.usage.counters.schemas import PartOut


class StatsQuotaOut(BaseModel):
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


class RecentUploadOut(BaseModel):
    """`uploaded_by_name` is null where nobody is known to have uploaded it."""

    file_id: UUID
    file_name: str
    file_size: int
    content_type: str
    file_type: str
    category: str
    uploaded_by: UUID | None
    uploaded_by_name: str | None = None
    uploaded_at: datetime


class StatsOut(BaseModel):
    """`quota` is of ledger entry `quota_position`. The breakdown is of entry `position` and sums to `stored`, `files`
    and what of them lies in the trash and in older versions. `stored` is the same as `quota.used` where both positions
    are the same, which they are as soon as counting has caught up.
    """

    quota: StatsQuotaOut
    quota_position: int
    stored: int
    files: int
    trashed_bytes: int
    trashed_files: int
    version_bytes: int
    version_files: int
    position: int
    as_of: datetime
    breakdown: list[PartOut]
    recent_uploads: list[RecentUploadOut]
