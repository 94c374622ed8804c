"""The same done to many things at once, each with its own result."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

from shared.errors import DomainError

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

WIDTH = 32  # at a time


async def each(keys: Sequence[K], work: Callable[[K], Awaitable[T]]) -> dict[K, T | DomainError]:
    """In the order given, each key once; a refusal is that key's result and nobody else's."""
    free = asyncio.Semaphore(WIDTH)

    async def one(key: K) -> T | DomainError:
        async with free:
            try:
                return await work(key)
            except DomainError as error:
                return error

    unique = list(dict.fromkeys(keys))
    results = await asyncio.gather(*(one(key) for key in unique))
    return dict(zip(unique, results, strict=True))
