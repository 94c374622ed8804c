"""What would become of a list of files, and which plan would take them."""

from collections.abc import Sequence
from uuid import UUID

from services.upload.entitlements.terms import Terms
from services.upload.files.rules import IMAGES
from services.upload.images.quota.rules import Allowance
from services.upload.images.quota.service import ImageQuotaService
from services.upload.intake.intake import Intake
from services.upload.preflight import rules
from services.upload.preflight.plans import PlanFound, Plans
from services.upload.preflight.rules import Asked, Limits, Verdict
from services.upload.quota.rules import State
from services.upload.quota.service import AccountService


class PreflightService:
    def __init__(self, accounts: AccountService, intake: Intake, images: ImageQuotaService, plans: Plans) -> None:
        self._accounts = accounts
        self._intake = intake
        self._images = images
        self._plans = plans

    async def check(
        self, tenant: UUID, files: Sequence[Asked], *, resumable: bool
    ) -> tuple[Verdict, State, PlanFound | None]:
        """Holds nothing: an upload in between may take the room. Raises EntitlementsUnknown,
        ImageQuotaRefused where there are images among them and how many are left is not known.
        """
        state = await self._accounts.state(tenant)
        terms = await self._intake.terms(tenant, 0)
        images = await self._images.allowance(tenant) if any(file.category == IMAGES for file in files) else None
        verdict = rules.judge(files, state, self._limits(terms, resumable=resumable), images)
        plan = await self._plan(files, state, terms, images, resumable=resumable) if any(verdict.reasons) else None
        return verdict, state, plan

    def _limits(self, terms: Terms | None, *, resumable: bool) -> Limits:
        """Of the tenant's plan, or of the installation alone."""
        policy = self._intake.policy
        terms = terms or Terms("")
        allowed = tuple(one for one in (policy.allowed or None, terms.allowed) if one is not None)
        largest = policy.largest(terms, resumable=resumable)
        return Limits(policy.tree, largest, allowed)

    async def _plan(
        self, files: Sequence[Asked], state: State, terms: Terms, images: Allowance | None, *, resumable: bool
    ) -> PlanFound | None:
        offers = await self._plans.offers()
        limits = self._limits(None, resumable=resumable)
        code = rules.cheapest(files, state, offers, limits, terms.plan, images)
        return None if code is None else self._plans.find(code)
