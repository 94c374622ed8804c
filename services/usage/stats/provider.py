from collections.abc import Collection
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError

from services.usage.errors import LedgerUnreachable
from services.usage.stats.schemas import RecentUploadOut, StatsQuotaOut
from shared.errors import UpstreamError
from shared.http import ServiceClient

_NAMES = TypeAdapter(dict[UUID, str])


class Glance(BaseModel):
    """The account at ledger entry `position`, and the newest uploads."""

    position: int
    quota: StatsQuotaOut
    recent_uploads: list[RecentUploadOut]


class Neighbours:
    def __init__(self, upload: ServiceClient, gateway: ServiceClient) -> None:
        self._upload = upload
        self._gateway = gateway

    async def glance(self, tenant: UUID) -> Glance:
        """Raises LedgerUnreachable."""
        try:
            return Glance.model_validate(await self._upload.request_json("GET", f"/internal/storage/{tenant}/glance"))
        except (UpstreamError, ValidationError) as error:
            raise LedgerUnreachable from error

    async def names(self, people: Collection[UUID]) -> dict[UUID, str]:
        """Of those that are known. Without the gateway nobody is: the rest of an answer is worth having."""
        if not people:
            return {}
        path = f"/internal/people/names?{urlencode({'id': [str(one) for one in people]}, doseq=True)}"
        try:
            return _NAMES.validate_python(await self._gateway.request_json("GET", path))
        except (UpstreamError, ValidationError):
            return {}
