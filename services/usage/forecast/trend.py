"""A line through noisy points that no outlier bends, and how sure it is. Pure.

Slope: Theil (1950) and Sen (1968), the median of the slopes of all pairs. Interval: Sen's, by the order of the slopes,
with the variance of Kendall's S; widened for points that hang together (Yue and Wang 2004), as what is stored today is
mostly what was stored yesterday.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import sqrt
from statistics import median

Point = tuple[float, float]
_Z = 1.96  # of 95 %


@dataclass(frozen=True, slots=True)
class Trend:
    """Units of y for one of x. It is between `low` and `high` 95 times of 100 where points scatter about a line, and
    about 75 where each begins where the last one ended.
    """

    slope: float
    low: float
    high: float


def trend(points: Sequence[Point]) -> Trend:
    """Of two points at least, all at different x."""
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))
    slope, count = median(slopes), len(points)
    spread = sqrt(count * (count - 1) * (2 * count + 5) / 18 * _stretch(points, slope))
    outside = (len(slopes) - _Z * spread) / 2
    low = max(0, min(len(slopes) - 1, int(outside)))
    return Trend(slope, slopes[low], slopes[-1 - low])


def _stretch(points: Sequence[Point], slope: float) -> float:
    """By how much the points say less than as many that know nothing of each other."""
    rests = [y - slope * x for x, y in points]
    middle = sum(rests) / len(rests)
    rests = [rest - middle for rest in rests]
    whole = sum(rest * rest for rest in rests)
    if whole == 0:
        return 1
    together = sum(a * b for a, b in pairwise(rests)) / whole
    # What is taken off the points with the line makes them look freer than they are (Kendall 1954).
    count = len(points)
    together = (count * together + 2) / (count - 4) if count > 4 else 1.0
    most = count / 2  # beyond, the interval only grows and holds the truth no more often
    return most if together >= 1 else min(most, (1 + max(0.0, together)) / (1 - max(0.0, together)))
