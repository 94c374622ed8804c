"""When usage passes a threshold. Pure: no clock, no session, no settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Literal, NamedTuple
from uuid import UUID

from shared.events import Channel, Metric

_FAR = 2**63  # more than a counter can hold

Unit = Literal["percent", "amount"]


class Level(NamedTuple):
    """Percent of the limit, or an amount in the metric's own unit, whatever the limit."""

    unit: Unit
    value: int

    @property
    def percent(self) -> int | None:
        return self.value if self.unit == "percent" else None

    @property
    def amount(self) -> int | None:
        return self.value if self.unit == "amount" else None

    def step(self, limit: int | None, least: int = 0) -> int | None:
        """The least usage that has reached it: more than `least`, for what everybody has has reached nothing. None:
        never reached.
        """
        return self._share(self.value, limit, least)

    def low(self, limit: int | None, slack: int, least: int = 0) -> int | None:
        """Usage below this, and at the latest what is no more than `least`, has left it: `slack` percent below the
        step.
        """
        step, low = self.step(limit, least), self._share(max(0, self.value - slack), limit, least)
        if self.unit == "amount":
            low = max(1, self.value - self.value * slack // 100)
        return None if step is None or low is None else min(step, low)

    def _share(self, value: int, limit: int | None, least: int) -> int | None:
        if self.unit == "amount":
            return max(1, value)
        # Whole numbers: 79.999… % of a petabyte must not round up to 80.
        return None if limit is None else max(least + 1, -(-value * limit // 100))


@dataclass(frozen=True, slots=True)
class Threshold:
    """`hard`: nothing that would pass it is allowed, where it is asked first."""

    level: Level
    hard: bool = False
    channels: tuple[Channel, ...] = ("note", "mail")


DEFAULTS = tuple(Threshold(Level("percent", value)) for value in (80, 95, 100))  # S4.3


@dataclass(frozen=True, slots=True)
class Arm:
    """One threshold of one tenant: how often it was armed, and on which side usage stands."""

    armed: int = 1
    reached: bool = False


Arms = Mapping[Level, Arm]  # a missing one was never passed; one that is no threshold any more keeps its count

_FRESH = Arm()


@dataclass(frozen=True, slots=True)
class Passing:
    """One threshold passed in one direction. `armed` is the same on the way up and on the way back down."""

    threshold: Threshold
    upward: bool
    armed: int
    used: int
    limit: int | None

    @property
    def level(self) -> Level:
        return self.threshold.level


@dataclass(frozen=True, slots=True)
class Passed:
    """A threshold passed, when, and in which trace; `period`: first day of the tenant's month, where that counts."""

    passing: Passing
    at: datetime
    traceparent: str | None
    period: date | None = None

    @property
    def month(self) -> date:
        return self.period or period_of(self.at)


@dataclass(frozen=True, slots=True)
class Crossings:
    """What was passed of one metric in one transaction, and how the tenant's thresholds stand after it."""

    tenant_id: UUID
    metric: Metric
    arms: Arms
    passed: Sequence[Passed]

    @property
    def speaker(self) -> Passing | None:
        """Which of them tells people: of what was passed upward and is still reached after all of it, the highest."""
        up = [p.passing for p in self.passed if p.passing.upward]
        reached = [p for p in up if self.arms.get(p.level) == Arm(p.armed, reached=True)]
        limit = self.passed[-1].passing.limit
        return max(reached, key=lambda p: (p.level.step(limit) or 0, p.level), default=None)


@dataclass(frozen=True, slots=True)
class Scale:
    """A tenant's thresholds of one metric; `slack`: so many percent below a threshold it is armed again; `least`: what
    every tenant has of it.
    """

    thresholds: tuple[Threshold, ...] = DEFAULTS
    slack: int = 0
    least: int = 0
    _levels: frozenset[Level] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_levels", frozenset(threshold.level for threshold in self.thresholds))

    def judge(self, arms: Arms, used: int, limit: int | None) -> tuple[Arms, list[Passing]]:
        """What one change to `used` of `limit` passed: upward lowest first, downward highest first."""
        after, up, down = dict(arms), list[Passing](), list[Passing]()
        for threshold in self._rising(limit):
            arm = arms.get(threshold.level, _FRESH)
            if not arm.reached and self.reached(threshold, used, limit):
                after[threshold.level] = replace(arm, reached=True)
                up.append(Passing(threshold, upward=True, armed=arm.armed, used=used, limit=limit))
            elif arm.reached and self._left(threshold, used, limit):
                after[threshold.level] = Arm(armed=arm.armed + 1)
                down.append(Passing(threshold, upward=False, armed=arm.armed, used=used, limit=limit))
        for level in sorted(arms.keys() - self._levels):
            if arms[level].reached:  # a threshold no more
                after[level] = Arm(armed=arms[level].armed + 1)
                down.append(Passing(Threshold(level), upward=False, armed=arms[level].armed, used=used, limit=limit))
        return after, [*up, *reversed(down)]

    def band(self, arms: Arms, limit: int | None) -> tuple[int, int]:
        """The stretch `floor <= used < ceiling` in which no threshold changes sides."""
        floor, ceiling = -_FAR, _FAR
        for level in self._levels:
            if arms.get(level, _FRESH).reached:
                low = level.low(limit, self.slack, self.least)
                floor = max(floor, _FAR if low is None else low)
            elif (step := level.step(limit, self.least)) is not None:
                ceiling = min(ceiling, step)
        return floor, ceiling

    def ceiling(self, limit: int | None) -> int | None:
        """What may be used at most: the limit, or the lowest of the hard thresholds below it. None: unlimited."""
        steps = [threshold.level.step(limit, self.least) for threshold in self.thresholds if threshold.hard]
        return min([step for step in (*steps, limit) if step is not None], default=None)

    def reached(self, threshold: Threshold, used: int, limit: int | None) -> bool:
        step = threshold.level.step(limit, self.least)
        return step is not None and used >= step

    def _left(self, threshold: Threshold, used: int, limit: int | None) -> bool:
        low = threshold.level.low(limit, self.slack, self.least)
        return low is None or used < low

    def _rising(self, limit: int | None) -> list[Threshold]:
        return sorted(self.thresholds, key=lambda t: (t.level.step(limit, self.least) or 0, t.level))


DEFAULT = Scale()


def period_of(at: datetime) -> date:
    """First day of the month, UTC."""
    return at.date().replace(day=1)
