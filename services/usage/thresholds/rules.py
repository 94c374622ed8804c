"""When usage passes a threshold. Pure: no clock, no session, no settings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

PERCENTS = (80, 95, 100)  # of the entitlement's limit, rising (S4.3)

_FAR = 2**63  # more bytes than a counter can hold


@dataclass(frozen=True, slots=True)
class Arm:
    """One threshold of one tenant: how often it was armed, and on which side usage stands."""

    armed: int = 1
    reached: bool = False


Arms = Mapping[int, Arm]  # by percent; a missing one was never passed

_FRESH = Arm()


@dataclass(frozen=True, slots=True)
class Passing:
    """One threshold passed in one direction. `armed` is the same on the way up and on the way back down."""

    percent: int
    upward: bool
    armed: int
    used: int
    limit: int | None
    speaks: bool = False  # of several crossed by one change, the highest tells people


def reached(percent: int, used: int, limit: int | None) -> bool:
    """Unlimited has no thresholds, and nothing stored has reached none of them."""
    # Whole numbers on both sides: 79.999… % of a petabyte must not round up to 80.
    return limit is not None and used > 0 and used * 100 >= percent * limit


def band(used: int, limit: int | None) -> tuple[int, int]:
    """The stretch `floor <= bytes < ceiling` around `used` in which no threshold changes sides."""
    if limit is None:
        return -_FAR, _FAR
    steps = [max(1, -(-percent * limit // 100)) for percent in PERCENTS]
    floor = max((step for step in steps if step <= used), default=-_FAR)
    ceiling = min((step for step in steps if step > used), default=_FAR)
    return floor, ceiling


def judge(arms: Arms, used: int, limit: int | None) -> tuple[Arms, list[Passing]]:
    """What one change to `used` of `limit` bytes passed: upward lowest first, downward highest first."""
    after = dict(arms)
    up, down = [], []
    for percent in PERCENTS:
        arm = arms.get(percent, _FRESH)
        now = reached(percent, used, limit)
        if now and not arm.reached:
            after[percent] = replace(arm, reached=True)
            up.append(Passing(percent, upward=True, armed=arm.armed, used=used, limit=limit))
        elif arm.reached and not now:
            after[percent] = Arm(armed=arm.armed + 1)
            down.append(Passing(percent, upward=False, armed=arm.armed, used=used, limit=limit))
    if up:
        up[-1] = replace(up[-1], speaks=True)
    return after, [*up, *reversed(down)]


def period_of(at: datetime) -> date:
    """First day of the month, UTC."""
    return at.date().replace(day=1)
