from uuid import UUID

from services.usage.counters.schemas import PartOut
from services.usage.live.service import LiveUsage
from services.usage.stats.provider import Neighbours
from services.usage.stats.schemas import RecentUploadOut, StatsOut

PATIENCE = 2.0  # seconds for the counters to come to where the account is


class StatsService:
    """Quota, breakdown and the newest uploads (S1.8)."""

    def __init__(self, live: LiveUsage, neighbours: Neighbours) -> None:
        self._live = live
        self._neighbours = neighbours

    async def get(self, tenant: UUID) -> StatsOut:
        """Raises LedgerUnreachable, EntitlementsUnknown."""
        glance = await self._neighbours.glance(tenant)
        usage = await self._live.wait(tenant, glance.position - 1, None, PATIENCE)
        recent = glance.recent_uploads
        names = await self._neighbours.names({file.uploaded_by for file in recent if file.uploaded_by is not None})
        return StatsOut(
            quota=glance.quota,
            quota_position=glance.position,
            stored=usage.bytes,
            files=usage.files,
            trashed_bytes=usage.trashed_bytes,
            trashed_files=usage.trashed_files,
            version_bytes=usage.version_bytes,
            version_files=usage.version_files,
            position=usage.position,
            as_of=usage.as_of,
            breakdown=[PartOut.of(part, usage.bytes) for part in usage.breakdown],
            recent_uploads=[_named(file, names) for file in recent],
        )


def _named(file: RecentUploadOut, names: dict[UUID, str]) -> RecentUploadOut:
    known = None if file.uploaded_by is None else names.get(file.uploaded_by)
    return file.model_copy(update={"uploaded_by_name": known})
