"""Answers that last (event streams, long polls) end when their process is told to stop, and hold nobody up."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated, TypeVar

from fastapi import Depends, Request

T = TypeVar("T")


async def stopping_of(request: Request) -> asyncio.Event:
    """Set by the server as soon as it is told to stop; never where another server runs the application."""
    found = request.scope.get("state", {}).get("stopping")
    return found if isinstance(found, asyncio.Event) else asyncio.Event()


Stopping = Annotated[asyncio.Event, Depends(stopping_of)]


async def unless(stopping: asyncio.Event, awaitable: Awaitable[T]) -> T | None:
    """What it returns, or None when the process is told to stop before."""
    wanted, stop = asyncio.ensure_future(awaitable), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({wanted, stop}, return_when=asyncio.FIRST_COMPLETED)
        return wanted.result() if wanted.done() else None
    finally:
        for task in (wanted, stop):
            task.cancel()
        await asyncio.gather(wanted, stop, return_exceptions=True)
