"""Credits, as billing answers for them. What is done for one upload is done once, however often it is asked."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.errors import UpstreamError
from shared.http import ServiceClient

USE = "image"  # in billing's `credits.yaml`
LIFETIME = 7 * 86_400  # seconds the credits stay held if we never say a word
PATIENCE = 2.0  # seconds

_OFFER_READ = (UpstreamError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Offer:
    """In credits: what one image costs, and what the tenant has."""

    price: int
    balance: int


@dataclass(frozen=True, slots=True)
class Hold:
    """`status`: open, settled, released or expired."""

    id: UUID
    status: str


class CreditsShort(Exception):
    """There are not enough of them."""


class CreditAccount:
    def __init__(self, billing: ServiceClient) -> None:
        self._billing = billing

    async def offer(self, tenant: UUID) -> Offer | None:
        """None when billing does not say."""
        try:
            told = await self._ask("GET", tenant, f"offer?use={USE}")
            return Offer(int(told["cost"]), int(told["balance"]))
        except _OFFER_READ:
            return None

    async def hold(self, tenant: UUID, upload: UUID) -> Hold:
        """What is held for the upload, now or since before. Raises CreditsShort, UpstreamError."""
        wanted = {"use": USE, "quantity": 1, "client_id": str(upload), "expires_in": LIFETIME}
        told = await self._ask("POST", tenant, "reservations", wanted)
        return Hold(UUID(told["reservation_id"]), told["status"])

    async def settle(self, tenant: UUID, hold: Hold) -> None:
        """Raises UpstreamError."""
        await self._ask("POST", tenant, f"reservations/{hold.id}/settle", {"quantity": 1})

    async def release(self, tenant: UUID, hold: Hold) -> None:
        """Raises UpstreamError."""
        await self._ask("POST", tenant, f"reservations/{hold.id}/release")

    async def spend(self, tenant: UUID, upload: UUID) -> None:
        """Raises CreditsShort, UpstreamError."""
        await self._ask("POST", tenant, "spend", {"use": USE, "quantity": 1, "client_id": str(upload)})

    async def _ask(self, method: str, tenant: UUID, path: str, body: Any = None) -> Any:
        try:
            return await self._billing.request_json(
                method, f"/internal/credits/{tenant}/{path}", json=body, timeout=PATIENCE
            )
        except UpstreamError as error:
            if error.status == 402:
                raise CreditsShort from error
            raise
