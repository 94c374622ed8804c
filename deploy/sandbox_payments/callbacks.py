"""Signed callbacks by Standard Webhooks, each event in its turn, tried again while the customer does not answer."""

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import aiohttp

from deploy.sandbox_payments.book import Event

log = logging.getLogger(__name__)


class Courier:
    """A delivery that fails is tried `attempts` times, `pause` seconds later and then at doubling distances."""

    def __init__(self, secret: str, *, attempts: int = 8, pause: float = 0.5) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        self._attempts = attempts
        self._pause = pause
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def send(self, url: str, events: Sequence[Event], *, delay: float = 0) -> None:
        """Returns at once; the deliveries go their way after `delay` seconds."""
        self._start(self._deliver_all(url, events, delay))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver_all(self, url: str, events: Sequence[Event], delay: float) -> None:
        await asyncio.sleep(delay)
        for event in events:
            if not await self._try(url, event):
                # It has its own time now; the next ones need not wait for it.
                self._start(self._deliver(url, event))

    async def _deliver(self, url: str, event: Event) -> None:
        for attempt in range(self._attempts - 1):
            await asyncio.sleep(self._pause * 2**attempt)
            if await self._try(url, event):
                return
        log.warning("callback %s was given up", event.id)

    async def _try(self, url: str, event: Event) -> bool:
        """True when the customer has decided: 2xx taken, 4xx refused."""
        try:
            status = await self._post(url, event)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("callback %s: %s", event.id, error)
            return False
        return 200 <= status < 300 or 400 <= status < 500

    async def _post(self, url: str, event: Event) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        stamp = str(int(time.time()))
        key = secrets.token_bytes(32) if event.forged else self._key
        signature = hmac.digest(key, f"{event.id}.{stamp}.{event.body}".encode(), hashlib.sha256)
        headers = {
            "content-type": "application/json",
            "webhook-id": event.id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
        }
        async with self._session.post(url, data=event.body.encode(), headers=headers, allow_redirects=False) as answer:
            return answer.status
