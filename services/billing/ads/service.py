"""Views of ads and their rewards. Everything of a team happens under the lock of its credit account, so any number of
tabs, replays and processes earn what one of them earns.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from prometheus_client import Counter

from services.billing.ads import repository
from services.billing.ads.rules import View, day_of, is_late, lasted, midnight_after, worth
from services.billing.ads.verification import Verifier, Word
from services.billing.credits.catalogue import Ads
from services.billing.credits.commands import Add
from services.billing.credits.errors import (
    AdLimitReached,
    AdViewNotFound,
    AdViewOpen,
    AdViewOver,
    VerificationRefused,
)
from services.billing.credits.repository import commit_batch, lock
from shared.clock import Clock
from shared.db import Database
from shared.ids import new_id

VIEWS = Counter("stowage_billing_ad_views_total", "Views of ads by what became of them", ["outcome"])

WORD_WITHIN = timedelta(hours=1)  # from the start of a view to the network's word
SKEW = timedelta(minutes=5)  # between the network's clock and ours


@dataclass(frozen=True, slots=True)
class Day:
    """Of a team, in its time zone."""

    rewarded: int
    limit: int
    resets_at: datetime


class AdService:
    """With a `verifier`, rewards wait for the ad network's signed word."""

    def __init__(
        self, database: Database, ads: Ads, verifier: Verifier | None, clock: Clock, wake: Callable[[], object]
    ) -> None:
        self._database = database
        self._ads = ads
        self._verifier = verifier
        self._clock = clock
        self._wake = wake

    async def start(self, tenant: UUID, user: UUID) -> tuple[View, Day]:
        """One open view in a team. A person's second start ends their first: a tab that was closed must not keep them
        out, and a clock that begins anew gains nobody anything. Raises AdViewOpen (a colleague's), AdLimitReached.
        """
        async with self._database.transaction(tenant) as connection:
            now, zone = await self._enter(connection, tenant)
            day, _ = await self._day(connection, tenant, now, zone)
            if day.rewarded >= day.limit:
                raise AdLimitReached(day.limit, day.resets_at)
            open_view = await repository.find_open(connection, tenant)
            if open_view is not None:
                await self._end(connection, open_view, user, now)
            view = View(new_id(), tenant, user, "open", now)
            await repository.insert(connection, view)
        VIEWS.labels("started").inc()
        return view, day

    async def complete(self, tenant: UUID, user: UUID, view_id: UUID) -> tuple[View, Day]:
        """Asked again, it says what came of the first time. Raises AdViewNotFound, AdViewOver."""
        async with self._database.transaction(tenant) as connection:
            now, zone = await self._enter(connection, tenant)
            view = await repository.find(connection, tenant, view_id)
            if view is None or view.user_id != user:
                raise AdViewNotFound
            if view.status == "open":
                view = await self._complete(connection, view, now, zone)
            day, _ = await self._day(connection, tenant, now, zone)
        self._wake()
        if view.status in ("ended", "expired"):
            raise AdViewOver(view.status)
        return view, day

    async def verify(self, query: bytes) -> str:
        """The ad network's word on a view: `verified`, or `known` when said before. Raises VerificationRefused."""
        if self._verifier is None:
            raise VerificationRefused(404, "Views are not verified here.")
        word = self._verifier.read(query)
        async with self._database.transaction(word.tenant) as connection:
            if await repository.find(connection, word.tenant, word.view) is None:
                raise VerificationRefused(404, "There is no such view.")
            now, zone = await self._enter(connection, word.tenant)
            if await repository.is_same_verification(connection, word.transaction, word.tenant, word.view):
                return "known"
            view = await self._believable(connection, word, now)
            if not await repository.insert_verification(
                connection, word.transaction, word.tenant, word.view, word.network, word.key, now
            ):
                raise VerificationRefused(409, "This transaction was for another view, or the view has another one.")
            if view.status == "waiting":
                await self._reward(connection, view, now, zone)
        self._wake()
        return "verified"

    async def _enter(self, connection: Any, tenant: UUID) -> tuple[datetime, ZoneInfo]:
        """The time is read under the lock: what waited for it does not come from before."""
        account = await lock(connection, tenant)
        return max(self._clock.now(), account["last_at"]), ZoneInfo(account["timezone"])

    async def _end(self, connection: Any, view: View, user: UUID, now: datetime) -> None:
        late = is_late(view.started_at, now, self._ads.complete_within)
        if view.user_id != user and not late:
            raise AdViewOpen(view.started_at, view.started_at + timedelta(seconds=self._ads.complete_within))
        await repository.update(connection, replace(view, status="expired" if late else "ended"))

    async def _complete(self, connection: Any, view: View, now: datetime, zone: ZoneInfo) -> View:
        if is_late(view.started_at, now, self._ads.complete_within):
            view = replace(view, status="expired")
            await repository.update(connection, view)
            VIEWS.labels("expired").inc()
            return view
        view = replace(view, completed_at=now, seconds=lasted(view.started_at, now))
        if self._verifier is None or await repository.is_verified(connection, view.tenant_id, view.id):
            return await self._reward(connection, view, now, zone)
        view = replace(view, status="waiting")
        await repository.update(connection, view)
        return view

    async def _reward(self, connection: Any, view: View, now: datetime, zone: ZoneInfo) -> View:
        """The view's end and its credits are this one commit."""
        day, number = await self._day(connection, view.tenant_id, now, zone)
        earned = worth(view.seconds or 0, self._ads.rewards)
        if not earned:
            view = replace(view, status="completed", credits=0, reason="too_short")
        elif day.rewarded >= day.limit:
            view = replace(view, status="completed", credits=0, reason="daily_limit")
        else:
            view = replace(view, status="completed", credits=earned)
        VIEWS.labels(view.reason or "rewarded").inc()
        if not view.credits:
            await repository.update(connection, view)
            return view
        await repository.update(connection, view, day_of(now, zone), number + 1)
        await commit_batch(connection, view.tenant_id, [self._grant(view, now)], now)
        return view

    def _grant(self, view: View, now: datetime) -> Add:
        days = self._ads.expires_days
        return Add(
            key=f"ad:{view.id}",
            said={"view": str(view.id)},
            source="ad_reward",
            amount=view.credits or 0,
            description=f"An ad watched for {view.seconds} s",
            by=str(view.user_id),
            priority=self._ads.priority,
            expires_at=None if days is None else now + timedelta(days=days),
        )

    async def _day(self, connection: Any, tenant: UUID, now: datetime, zone: ZoneInfo) -> tuple[Day, int]:
        today = day_of(now, zone)
        rewarded, number = await repository.count_rewarded(connection, tenant, today)
        return Day(rewarded, self._ads.daily_limit, midnight_after(today, zone)), number

    async def _believable(self, connection: Any, word: Word, now: datetime) -> View:
        view = await repository.find(connection, word.tenant, word.view)
        if view is None or now - view.started_at > WORD_WITHIN or word.at < view.started_at - SKEW:
            raise VerificationRefused(422, "The word does not fit the time of the view.")
        return view
