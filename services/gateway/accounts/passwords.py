"""argon2id, off the event loop and never more at a time than the machine can bear."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.gateway.errors import Busy

R = TypeVar("R")

# OWASP's first choice for argon2id: 19 MiB, two passes, one lane; 15 to 30 ms here.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class Passwords:
    """Hashes and checks passwords. `workers` bounds memory to 19 MiB each; more than `waiting` are refused."""

    def __init__(self, *, workers: int = 2, waiting: int = 200) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        self._room = waiting
        # Checked when nobody has the address, so that an unknown one takes as long as a known one.
        self._nobody = _HASHER.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """Raises Busy."""
        return await self._run(_HASHER.hash, password)

    async def matches(self, stored: str | None, password: str) -> bool:
        """The same work whether there is a stored hash or not. Raises Busy."""
        right = await self._run(_matches, stored or self._nobody, password)
        return right and stored is not None

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, call: Callable[..., R], *values: str) -> R:
        if self._room <= 0:
            raise Busy
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call, *values)
        finally:
            self._room += 1


def _matches(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
