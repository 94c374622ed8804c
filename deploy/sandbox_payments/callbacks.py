"""Signed callbacks by Standard Webhooks, delivered as well or as badly as the payment's behaviour says."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from deploy.sandbox_payments.book import Behaviour, Payment

log = logging.getLogger(__name__)

ATTEMPTS = 6  # of one delivery: at once, then 0.5, 1, 2, 4, 8 s later


@dataclass(frozen=True, slots=True)
class Event:
    """The id stays the same over all deliveries of an event."""

    id: str
    body: bytes
    forged: bool = False


class Courier:
    def __init__(self, secret: str) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._sent: dict[str, list[Event]] = {}

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._session is not None:
            await self._session.close()

    def announce(self, payment: Payment, behaviour: Behaviour) -> None:
        """Returns at once; the deliveries go their way."""
        events = _events(payment, behaviour)
        self._sent[payment.external_payment_id] = [event for event in events if not event.forged]
        if not behaviour.never:
            self._start(self._deliver_all(payment.callback_url, events, behaviour.delay_ms / 1000))

    def redeliver(self, payment: Payment) -> int:
        events = self._sent.get(payment.external_payment_id) or _events(payment, Behaviour())
        self._start(self._deliver_all(payment.callback_url, events, 0))
        return len(events)

    def _start(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload] # a coroutine of ours
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver_all(self, url: str, events: list[Event], delay: float) -> None:
        await asyncio.sleep(delay)
        for event in events:
            await self._deliver(url, event)

    async def _deliver(self, url: str, event: Event) -> None:
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(0.25 * 2**attempt)
            try:
                status = await self._post(url, event)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("callback %s: %s", event.id, error)
                continue
            if status < 500:
                return

    async def _post(self, url: str, event: Event) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        stamp = str(int(time.time()))
        key = secrets.token_bytes(32) if event.forged else self._key
        signature = hmac.digest(key, f"{event.id}.{stamp}.".encode() + event.body, hashlib.sha256)
        headers = {
            "content-type": "application/json",
            "webhook-id": event.id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
        }
        async with self._session.post(url, data=event.body, headers=headers) as answer:
            return answer.status


def _events(payment: Payment, behaviour: Behaviour) -> list[Event]:
    """Processing, then the end; with copies, in the order asked for; forgery and lie before the truth."""
    honest = [_event(payment, "processing"), _event(payment, payment.status)]
    copies = [event for event in honest for _ in range(behaviour.deliveries)]
    if behaviour.order == "reverse":
        copies.reverse()
    bad = []
    if behaviour.forged:
        bad.append(Event(honest[-1].id, honest[-1].body, forged=True))
    if behaviour.wrong_amount is not None:
        bad.append(_event(payment, payment.status, amount=behaviour.wrong_amount))
    return bad + copies


def _event(payment: Payment, status: str, **changes: str) -> Event:
    data = {
        "external_payment_id": payment.external_payment_id,
        "payment_id": payment.payment_id,
        "status": status,
        "amount": payment.amount,
        "currency": payment.currency,
        "transaction_id": payment.transaction_id,
        "occurred_at": datetime.now(UTC).isoformat(),
        **changes,
    }
    return Event(f"evt_{secrets.token_hex(12)}", json.dumps({"type": f"payment.{status}", "data": data}).encode())
