from typing import Protocol
from uuid import UUID

from pydantic import BaseModel, ValidationError

from services.usage.entitlements.rules import Terms
from services.usage.errors import EntitlementsUnknown
from shared.errors import UpstreamError
from shared.events import Entitlements
from shared.http.client import ServiceClient


class EntitlementProvider(Protocol):
    async def get(self, tenant: UUID) -> Terms:
        """Raises EntitlementsUnknown."""


class _Answer(BaseModel):
    version: int
    plan: str
    entitlements: Entitlements


class Billing:
    """Asks billing, which gives a new tenant its first plan by being asked."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def get(self, tenant: UUID) -> Terms:
        try:
            answer = _Answer.model_validate(await self._client.request_json("GET", f"/internal/entitlements/{tenant}"))
        except (UpstreamError, ValidationError) as error:
            raise EntitlementsUnknown from error
        return Terms.of(answer.version, answer.plan, answer.entitlements)
