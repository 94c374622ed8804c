"""Fairness among many who are ready at the same moment."""

import asyncio


class Rounds:
    """`turn` lets so many go on in one round of the event loop; the others wait for a later one.

    Two hundred clients who are ready at once must not make everybody, and every timer, wait for all of them.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0

    async def turn(self) -> None:
        while self._taken >= self._size:  # noqa: ASYNC110 - the next round is what is waited for
            await asyncio.sleep(0)
        if not self._taken:
            asyncio.get_running_loop().call_soon(self._over)
        self._taken += 1

    def _over(self) -> None:
        self._taken = 0
