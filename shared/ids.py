"""Identifiers that sort by the time they were made."""

import os
import time
from uuid import UUID

_CHANCE = 10  # bytes of an identifier
_AT_ONCE = 256  # identifiers' worth asked of the system: each time every other thread may go first

_waiting: list[bytes] = []
os.register_at_fork(after_in_child=_waiting.clear)  # or a child would make its parent's


def new_id() -> UUID:
    """A random UUID of version 7 (RFC 9562): 48 bits of milliseconds, then chance."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(_chance())
    return UUID(int=value & ~(0xF << 76 | 0b11 << 62) | 0x7 << 76 | 0b10 << 62)


def _chance() -> bytes:
    try:
        return _waiting.pop()  # in one step: no two threads get the same
    except IndexError:
        drawn = os.urandom(_CHANCE * _AT_ONCE)
        _waiting.extend(drawn[start : start + _CHANCE] for start in range(_CHANCE, len(drawn), _CHANCE))
        return drawn[:_CHANCE]
