"""The plans billing sells, as far as storage is concerned."""

import logging
import time
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from services.upload.preflight.rules import Offer
from shared.errors import UpstreamError
from shared.events import Entitlements
from shared.http import ServiceClient

log = logging.getLogger(__name__)

FRESH = 60.0  # seconds a catalogue may be repeated
PATIENCE = 2.0  # seconds; the answer is as good without a recommendation


class PlanFound(BaseModel):
    """`price` is decimal text of `currency` a `interval`; null for a free plan. `storage_bytes` null is unlimited."""

    code: str
    name: str
    price: str | None
    currency: str | None
    interval: str | None
    storage_bytes: int | None


class _Plan(BaseModel):
    code: str
    name: str
    price: str | None
    currency: str | None
    interval: str | None
    entitlements: Entitlements


_PLANS = TypeAdapter(list[_Plan])


class Plans:
    def __init__(self, billing: ServiceClient) -> None:
        self._billing = billing
        self._known: tuple[float, list[_Plan]] = (0.0, [])

    async def offers(self) -> dict[str, Offer]:
        """By code, cheapest first; none when billing does not answer."""
        plans = await self._list()
        return {plan.code: _offer(plan.entitlements) for plan in plans}

    def find(self, code: str) -> PlanFound:
        """One of `offers`."""
        plan = next(plan for plan in self._known[1] if plan.code == code)
        return PlanFound(**plan.model_dump(exclude={"entitlements"}), storage_bytes=plan.entitlements.storage_bytes)

    async def _list(self) -> list[_Plan]:
        until, plans = self._known
        if time.monotonic() < until:
            return plans
        try:
            told: Any = await self._billing.request_json("GET", "/api/plans", timeout=PATIENCE)
            plans = _PLANS.validate_python(told["items"])
        except (UpstreamError, ValidationError, KeyError, TypeError) as error:
            log.warning("which plans there are is not known: %s", error)
            return []
        self._known = (time.monotonic() + FRESH, plans)
        return plans


def _offer(entitlements: Entitlements) -> Offer:
    allowed = entitlements.allowed_types
    return Offer(
        entitlements.storage_bytes,
        entitlements.max_file_bytes,
        None if allowed is None else frozenset(allowed),
        entitlements.images_month,
    )
