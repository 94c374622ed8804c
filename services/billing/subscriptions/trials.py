"""A plan for some days before it is paid for: once a team and plan, and what ends it is the clock (`renewals`)."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from services.billing.catalogue.loader import Catalogue
from services.billing.errors import (
    PlanNotFound,
    TrialNotNow,
    TrialNotOffered,
    TrialUsed,
)
from services.billing.subscriptions import repository, trial_rows
from services.billing.subscriptions.repository import Subscription
from services.billing.subscriptions.service import SubscriptionService
from shared.clock import Clock
from shared.db import Database


class TrialService:
    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        subscriptions: SubscriptionService,
        clock: Clock,
        wake: Callable[[], object],
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._subscriptions = subscriptions
        self._clock = clock
        self._wake = wake

    async def begin(self, tenant: UUID, code: str, version: int | None = None) -> Subscription:
        """The plan and its entitlements at once, without charge. `version` as in ChangeService. Raises PlanNotFound,
        TrialNotOffered, TrialUsed, TrialNotNow, SubscriptionChangedMeanwhile, TeamNotFound.
        """
        plan = self._catalogue.find(code)
        if plan is None or not plan.public:
            raise PlanNotFound(code)
        if not plan.trial_days:
            raise TrialNotOffered(code)
        async with self._subscriptions.choosing(tenant, version) as (connection, held):
            start = self._clock.now()
            end = start + timedelta(days=plan.trial_days)
            if not await trial_rows.insert(connection, tenant, plan, start, end):
                raise TrialUsed(code)
            if held.plan != self._catalogue.default.code:
                raise TrialNotNow(held.plan)
            await self._subscriptions.change(connection, tenant, plan, trial_ends_at=end)
            await trial_rows.begin(connection, tenant, start, end)
            found = await repository.lock(connection, tenant)
        self._wake()
        return found
