"""What pages show comes from the services, for the visitor's tenant; what does not come is left out."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from services.gateway.pages.rules import FileLine, InvoiceLine, PlanCard, Quota, file_line, invoice_line, plan_cards
from shared.errors import UpstreamError
from shared.http import ServiceClient
from shared.security import Principal

log = logging.getLogger(__name__)

T = TypeVar("T")

RECENT = 10
OPEN_INVOICES = 20


@dataclass(frozen=True, slots=True)
class StorageView:
    """None where the service did not answer."""

    quota: Quota | None
    files: list[FileLine] | None
    plan: str | None
    upgrade: PlanCard | None


class Sources:
    def __init__(self, clients: dict[str, ServiceClient]) -> None:
        self._clients = clients

    async def storage(self, principal: Principal) -> StorageView:
        """Everything the storage page shows, asked for at once."""
        quota, files, plans = await asyncio.gather(self._quota(principal), self.files(principal), self.plans(principal))
        current = next((plan for plan in plans if plan.current), None)
        better = next((plan for plan in plans if plan.payable), None)
        return StorageView(quota, files, current.name if current else None, better)

    async def files(self, principal: Principal) -> list[FileLine] | None:
        """The newest files first."""
        path = f"/api/storage/files?limit={RECENT}"
        return await self._find("upload", path, principal, lambda found: [file_line(item) for item in found["items"]])

    async def plans(self, principal: Principal) -> list[PlanCard]:
        """In the catalogue's order; empty when billing does not answer."""
        current = await self._find("billing", "/api/subscription", principal, lambda found: str(found["plan"]))
        cards = await self._find(
            "billing", "/api/plans", principal, lambda found: plan_cards(found["items"], current=current)
        )
        return cards or []

    async def open_invoices(self, principal: Principal) -> list[InvoiceLine]:
        """Newest first; empty when billing does not answer, and for those who do not manage the team."""
        if not principal.manages:
            return []
        path = f"/api/invoices?kind=invoice&status=open&limit={OPEN_INVOICES}"
        found = await self._find("billing", path, principal, lambda page: [invoice_line(i) for i in page["items"]])
        return found or []

    async def export_status(self, principal: Principal, export: UUID) -> tuple[str, str | None]:
        """And why it failed, where it did. Raises UpstreamError."""
        found = await self._clients["upload"].request_json("GET", f"/api/user/exports/{export}", principal=principal)
        return str(found["status"]), found.get("error")

    async def delete_file(self, principal: Principal, file_id: str) -> None:
        """Raises UpstreamError."""
        await self._clients["upload"].request_json("DELETE", f"/api/storage/files/{file_id}", principal=principal)

    async def file_url(self, principal: Principal, file_id: str) -> str:
        """A signed address, good for an hour. Raises UpstreamError."""
        path = f"/api/storage/files/{file_id}/url?expires_in=3600"
        found = await self._clients["upload"].request_json("GET", path, principal=principal)
        return str(found["url"])

    async def start_payment(self, principal: Principal, plan: str, method: str, return_url: str) -> dict[str, Any]:
        """`return_url` is a path of ours. Raises UpstreamError."""
        path = f"/api/payments/{principal.tenant_slug}/initiate"
        body = {"plan": plan, "method": method, "return_url": return_url}
        found: dict[str, Any] = await self._clients["billing"].request_json(
            "POST", path, principal=principal, json=body, timeout=15
        )
        return found

    async def pay_invoice(self, principal: Principal, invoice: UUID, method: str, return_url: str) -> dict[str, Any]:
        """`return_url` is a path of ours. Raises UpstreamError."""
        body = {"method": method, "return_url": return_url}
        found: dict[str, Any] = await self._clients["billing"].request_json(
            "POST", f"/api/invoices/{invoice}/pay", principal=principal, json=body, timeout=15
        )
        return found

    async def _quota(self, principal: Principal) -> Quota | None:
        return await self._find(
            "upload", "/api/storage/quota", principal, lambda found: Quota(int(found["used"]), found["limit"])
        )

    async def _find(self, service: str, path: str, principal: Principal, read: Callable[[Any], T]) -> T | None:
        try:
            return read(await self._clients[service].request_json("GET", path, principal=principal))
        except (UpstreamError, KeyError, TypeError, ValueError) as error:
            log.warning("a page goes without %s: %s: %s", path, type(error).__name__, error)
            return None
