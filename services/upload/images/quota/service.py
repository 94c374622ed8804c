"""The month's images of a tenant: what is left, and how a refusal is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from urllib.parse import quote
from uuid import UUID

import asyncpg

from services.upload.entitlements.service import EntitlementService
from services.upload.errors import EntitlementsUnknown, ImageQuotaNotFound, NoImageLeft, NoPlan
from services.upload.images.purchases.provider import CreditAccount, Offer
from services.upload.images.quota import repository
from services.upload.images.quota.rules import DETAILS, Allowance, Code, ZoneUnknown, month_of
from services.upload.quota.rules import Images, State
from shared.clock import Clock
from shared.db import Database
from shared.errors import DomainError, UpstreamError
from shared.http import ServiceClient
from shared.security import Principal

# What keeps us from knowing: billing, the database, or a time zone that is none.
_UNKNOWN = (EntitlementsUnknown, ZoneUnknown, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


@dataclass(frozen=True, slots=True)
class Month:
    """The month a tenant is in, and the name of its plan."""

    first: date
    plan: str


class ImageQuotaRefused(DomainError):
    """403 with one of S2.3's codes; `allowance` None where nothing is known of it. `offer`: credits let it pass."""

    def __init__(self, code: Code, allowance: Allowance | None, upgrade_url: str, offer: Offer | None = None) -> None:
        more = {} if offer is None else {"credits": asdict(offer)}
        super().__init__(code, 403, DETAILS[code], quota_info=quota_info(allowance), upgrade_url=upgrade_url, **more)
        self.refusal = code


class ImageQuotaService:
    def __init__(
        self,
        database: Database,
        entitlements: EntitlementService,
        clock: Clock,
        gateway: ServiceClient | None,
        credit: CreditAccount,
        upgrade_url: str,
    ) -> None:
        self._database = database
        self._entitlements = entitlements
        self._clock = clock
        self._gateway = gateway
        self._credit = credit
        self._upgrade_url = upgrade_url

    async def month(self, tenant: UUID) -> Month:
        """The month an image counts in that begins to come now. Raises ImageQuotaRefused."""
        with self.known():
            terms = await self._entitlements.terms(tenant)
            return Month(month_of(self._clock.now(), terms.timezone), terms.plan)

    async def allowance(self, tenant: UUID) -> Allowance:
        """Raises ImageQuotaRefused when it cannot be known."""
        month = await self.month(tenant)
        with self.known():
            async with self._database.transaction(tenant) as connection:
                return await repository.get_allowance(connection, tenant, month.first)

    async def tenant_of(self, who: Principal, email: str) -> UUID:
        """The caller's own; the one they manage, of somebody who belongs to it; for staff the person's first. Raises
        ImageQuotaNotFound.
        """
        if who.tenant_id is not None and who.email is not None and who.email.casefold() == email.casefold():
            return who.tenant_id
        if who.is_admin or who.manages:
            tenants = await self._tenants(email)
            if who.tenant_id in tenants:
                return who.tenant_id
            if who.is_admin and tenants:
                return tenants[0]
        raise ImageQuotaNotFound

    async def _tenants(self, email: str) -> list[UUID]:
        if self._gateway is None:
            return []
        try:
            found = await self._gateway.request_json("GET", f"/internal/people/{quote(email, safe='')}/tenants")
        except UpstreamError as error:
            if error.status == 422:  # no address at all
                return []
            raise
        return [UUID(tenant) for tenant in found]

    @contextmanager
    def known(self) -> Iterator[None]:
        """Whatever keeps us from knowing the usage in here is a refusal (S2.6)."""
        try:
            yield
        except NoPlan as error:
            raise ImageQuotaRefused("IMAGE_QUOTA_NO_PLAN", None, self._upgrade_url) from error
        except _UNKNOWN as error:
            raise ImageQuotaRefused("IMAGE_QUOTA_CHECK_ERROR", None, self._upgrade_url) from error

    async def offer(self, tenant: UUID, allowance: Allowance) -> Offer | None:
        """What one above the limit costs; None where there is none to go beyond, or billing does not say."""
        return await self._credit.offer(tenant) if allowance.limit else None

    async def refusal(self, tenant: UUID, error: NoImageLeft, plan: str) -> ImageQuotaRefused:
        allowance = allowance_of(error.state, error.month, plan)
        offer = await self.offer(tenant, allowance)
        return ImageQuotaRefused(allowance.code, allowance, self._upgrade_url, offer)


def allowance_of(state: State, month: date, plan: str) -> Allowance:
    images = state.images.get(month, Images())
    return Allowance(plan, state.images_limit, images.used + images.reserved, images.bought + images.buying)


def quota_info(allowance: Allowance | None) -> dict[str, str | int | None] | None:
    """As S2.4 has it; `quota_limit` and `quota_remaining` are null when unlimited. `bought` where there are any."""
    if allowance is None:
        return None
    more = {"bought": allowance.bought} if allowance.bought else {}
    return {
        "plan_name": allowance.plan,
        "quota_limit": allowance.limit,
        "quota_used": allowance.used,
        "quota_remaining": allowance.remaining,
        **more,
    }
