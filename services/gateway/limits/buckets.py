"""Token buckets in the process's memory. Each replica counts for itself: the limits guard the machine, not the bill."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then `per_second`."""

    per_second: float
    burst: float


class Buckets:
    """One bucket a key; the least recently used are forgotten, which only ever gives somebody a full bucket again."""

    def __init__(self, rate: Rate, *, capacity: int = 50_000, time: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._capacity = capacity
        self._time = time
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # key: (tokens, when)

    def take(self, key: Hashable) -> float:
        """0 when the request may pass, else the seconds until one would."""
        now = self._time()
        tokens, since = self._buckets.get(key, (self._rate.burst, now))
        tokens = min(self._rate.burst, tokens + (now - since) * self._rate.per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate.per_second
        self._buckets[key] = (tokens - 1 if wait == 0 else tokens, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        return wait
