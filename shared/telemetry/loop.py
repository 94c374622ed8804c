"""How long the event loop leaves everybody waiting: work that should have been in a thread shows here."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from prometheus_client import Histogram

EVERY = 0.05  # seconds between two looks

LATE = Histogram(
    "stowage_event_loop_late_seconds",
    "By how much a timer of the event loop came late",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
)


@contextlib.asynccontextmanager
async def watched_loop() -> AsyncIterator[None]:
    watching = asyncio.create_task(_watch())
    try:
        yield
    finally:
        watching.cancel()


async def _watch() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY
        await asyncio.sleep(EVERY)
        LATE.observe(max(0.0, loop.time() - due))
