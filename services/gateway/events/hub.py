"""Live figures: one question to usage and one listener on the database serve all open pages of a tenant."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from typing import Protocol
from uuid import UUID

import asyncpg

from services.gateway.errors import TooManyStreams
from services.gateway.events.channel import Channel, Figures, Subscription
from services.gateway.notifications.models import Notification
from services.gateway.notifications.repository import NotificationRepository
from shared.db import Database
from shared.errors import UpstreamError
from shared.outbox import Listener

log = logging.getLogger(__name__)

POLL_SECONDS = 15.0  # a lost notice costs at most this
NEWEST = 20
CHANNEL = "notifications"


class UsageSource(Protocol):
    """Where live figures come from."""

    async def wait(self, tenant: UUID, known: Figures | None) -> Figures:
        """The figures as soon as they differ from those known, or the same after a while. Raises UpstreamError."""


class Hub:
    def __init__(self, database: Database, usage: UsageSource, *, per_user: int) -> None:
        self._database = database
        self._usage = usage
        self._per_user = per_user
        self._channels: dict[UUID, Channel] = {}
        self._watchers: dict[UUID, asyncio.Task[None]] = {}
        self._open: defaultdict[UUID, set[Subscription]] = defaultdict(set)  # by person

    async def run(self) -> None:
        """Listens for notifications until cancelled."""
        async with Listener(self._database.dsn, CHANNEL) as listener:
            while True:
                heard = await listener.wait(POLL_SECONDS)
                await self._look(_tenants(heard))

    def check_room(self, user: UUID) -> None:
        """Raises TooManyStreams, while there still is an answer to say it in."""
        if len(self._open.get(user, ())) >= self._per_user:
            raise TooManyStreams(self._per_user)

    @contextlib.asynccontextmanager
    async def subscribe(self, tenant: UUID, user: UUID, language: str) -> AsyncIterator[Subscription]:
        """Notifications come in the language. Raises TooManyStreams."""
        self.check_room(user)
        channel = self._channels.setdefault(tenant, Channel())
        subscription = Subscription(language)
        self._open[user].add(subscription)
        channel.subscriptions.add(subscription)
        try:
            await self._look([tenant])
            if channel.usage is not None:
                subscription.put("usage", "usage", channel.usage)
            if tenant not in self._watchers:
                self._watchers[tenant] = asyncio.create_task(self._watch_usage(tenant, channel))
            yield subscription
        finally:
            self._leave(tenant, channel, subscription, user)

    def end_streams(self, user: UUID) -> None:
        """Of one person, in whichever tenant."""
        for subscription in self._open.get(user, ()):
            subscription.end()

    def close(self) -> None:
        for task in self._watchers.values():
            task.cancel()

    def _leave(self, tenant: UUID, channel: Channel, subscription: Subscription, user: UUID) -> None:
        self._open[user].discard(subscription)
        if not self._open[user]:
            del self._open[user]
        channel.subscriptions.discard(subscription)
        if not channel.subscriptions:
            self._channels.pop(tenant, None)
            if (watcher := self._watchers.pop(tenant, None)) is not None:
                watcher.cancel()

    async def _watch_usage(self, tenant: UUID, channel: Channel) -> None:
        known: Figures | None = None
        while True:
            try:
                figures = await self._usage.wait(tenant, known)
            except UpstreamError as error:
                log.info("live figures pause: %s", error)
                await asyncio.sleep(2)
                continue
            if figures != known:
                channel.tell_usage(figures.shown)
            known = figures

    async def _look(self, tenants: Iterable[UUID] | None) -> None:
        """Reads the newest notifications of those who have a page open; None is everybody."""
        for tenant in list(self._channels) if tenants is None else list(tenants):
            channel = self._channels.get(tenant)
            if channel is None:
                continue
            try:
                channel.tell_notifications(await self._newest(tenant))
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("notifications cannot be read: %s", error)

    async def _newest(self, tenant: UUID) -> list[Notification]:
        async with self._database.transaction(tenant) as connection:
            return await NotificationRepository(connection).list_for(tenant, NEWEST)


def _tenants(heard: set[str]) -> list[UUID] | None:
    """None when the notice does not say whose, or none came: look at all."""
    try:
        return [UUID(text) for text in heard] or None
    except ValueError:
        return None
