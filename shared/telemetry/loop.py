"""How long the event loop leaves everybody waiting: work that should have been in a thread shows here."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from prometheus_client import Histogram

EVERY = 0.05  # seconds between two looks
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

LATE = Histogram(
    "stowage_event_loop_late_seconds",
    "By how much a timer of the event loop came late, whatever the cause",
    buckets=_BUCKETS,
)
BUSY = Histogram(
    "stowage_event_loop_busy_seconds",
    "Processor time the event loop took before it looked at its timers again, about 20 times a second",
    buckets=_BUCKETS,
)


@contextlib.asynccontextmanager
async def watched_loop() -> AsyncIterator[None]:
    watching = asyncio.create_task(_watch())
    try:
        yield
    finally:
        watching.cancel()


async def _watch() -> None:
    """Late and not busy is a machine with too little processor; late and busy is our own doing."""
    loop = asyncio.get_running_loop()
    while True:
        due, used = loop.time() + EVERY, time.thread_time()
        await asyncio.sleep(EVERY)
        LATE.observe(max(0.0, loop.time() - due))
        BUSY.observe(time.thread_time() - used)
