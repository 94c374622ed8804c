"""What goes to the open pages of one tenant."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from services.gateway.notifications.models import Notification
from services.gateway.notifications.texts import DEFAULT
from services.gateway.notifications.wording import told_in

QUEUED = 50  # notifications kept for a reader that is slow; it finds the rest in the list


@dataclass(frozen=True, slots=True)
class Figures:
    """A tenant's usage as pages show it, at a position of its ledger and under terms of some version."""

    position: int
    version: int | None
    shown: dict[str, object]


class Subscription:
    """One open page. Of usage only the newest counts, so a slow reader never falls behind with it."""

    def __init__(self, language: str = DEFAULT) -> None:
        self.language = language
        self._ready = asyncio.Event()
        self._events: OrderedDict[str, tuple[str, object]] = OrderedDict()
        self.ended = False

    def end(self) -> None:
        """Whose page it is may not belong here any more: it comes back and is asked who it is."""
        self.ended = True
        self._ready.set()

    def put(self, key: str, event: str, data: object) -> None:
        """An event of the same key replaces one that waits."""
        self._events[key] = (event, data)
        if len(self._events) > QUEUED:
            self._events.popitem(last=False)
        self._ready.set()

    async def next(self, timeout: float) -> tuple[str, object] | None:
        """None when nothing came in `timeout` seconds, or it has ended."""
        if not self._events:
            self._ready.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._ready.wait()
            except TimeoutError:
                return None
        return self._events.popitem(last=False)[1] if self._events else None


class Channel:
    """The subscriptions of one tenant, and what they have been told."""

    def __init__(self) -> None:
        self.subscriptions: set[Subscription] = set()
        self.usage: dict[str, object] | None = None
        self._told: set[UUID] | None = None

    def tell_usage(self, usage: dict[str, object]) -> None:
        self.usage = usage
        for subscription in self.subscriptions:
            subscription.put("usage", "usage", usage)

    def tell_notifications(self, newest: list[Notification]) -> None:
        """Those not told yet, oldest first. The first look only learns what is there."""
        told, self._told = self._told, {n.id for n in newest}
        if told is None:
            return
        for notification in reversed(newest):
            if notification.id not in told and notification.read_at is None:
                for subscription in self.subscriptions:
                    told_now = _shown(told_in(subscription.language, notification))
                    subscription.put(str(notification.id), "notification", told_now)


def _shown(notification: Notification) -> dict[str, object]:
    return {
        "id": str(notification.id),
        "kind": notification.kind,
        "title": notification.title,
        "body": notification.body,
        "created_at": notification.created_at.isoformat(),
        "data": notification.data,
    }
