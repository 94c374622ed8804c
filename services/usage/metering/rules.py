"""Metrics that begin from nothing with each month of the tenant. Pure: the same events give the same sums and alerts,
however batched.

Thresholds stand by one month, the newest that has begun. What comes late for an older one is added there and rings
nothing; one that is further ahead than a clock may be wrong waits until it begins.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, tzinfo
from uuid import UUID

from services.usage.counters.tally import FILE_EVENTS, Entry
from services.usage.entitlements.rules import Terms, newer
from services.usage.metering.meters import MONTHLY, Meter
from services.usage.months import Month
from services.usage.thresholds.rules import Arms, Crossings, Passed, Scale
from services.usage.traffic.rules import month_of
from shared.events import (
    EntitlementsChanged,
    Event,
    FileReplaced,
    FileStored,
    Metric,
    TrafficBought,
    TrafficRecorded,
)


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one month; traffic in bytes."""

    traffic_in: int = 0
    traffic_out: int = 0
    requests: int = 0
    images: int = 0
    traffic_bought: int = 0

    def plus(self, more: "Sums") -> "Sums":
        return Sums(*(getattr(self, name) + getattr(more, name) for name in NAMES))

    def used(self, meter: Meter) -> int:
        return sum(getattr(self, name) for name in meter.months)

    def limit(self, meter: Meter, granted: int | None) -> int | None:
        """The plan's, and what was bought beyond it."""
        return granted if granted is None or meter.bought is None else granted + int(getattr(self, meter.bought))


NAMES = tuple(column.name for column in fields(Sums))
_NOTHING = Sums()
_IMAGE = Sums(images=1)
_TAKES_IMAGES = frozenset({FileStored, FileReplaced})


@dataclass(frozen=True, slots=True)
class Step:
    """What one event adds to a month, or the terms that it tells."""

    month: Month
    at: datetime
    traceparent: str | None
    sums: Sums = _NOTHING
    terms: Terms | None = None


@dataclass(frozen=True, slots=True)
class Months:
    """What is held of one tenant: the month its thresholds stand by, None before the first, and sums by month, as far
    as the steps concern them.
    """

    tenant_id: UUID
    terms: Terms
    begun: Month | None
    sums: Mapping[Month, Sums]
    arms: Mapping[Metric, Arms]
    scales: Mapping[Metric, Scale]


@dataclass(frozen=True, slots=True)
class Metered:
    """What is to be written: what was added to each month, which began, and what was passed."""

    tenant_id: UUID
    added: Mapping[Month, Sums]
    begun: Sequence[Month]
    crossings: Sequence[Crossings]


def steps_of(entries: Iterable[Entry], position: int, zone: tzinfo) -> list[Step]:
    """One tenant's, in order. Entries of its ledger up to `position` are repeats."""
    steps = []
    for entry in entries:
        event = entry.event
        kind = type(event)  # exact types: isinstance would cost as much as all the rest of most entries
        if kind not in FILE_EVENTS:
            steps += _step(event, entry, zone)
        elif entry.seq > position:
            position = entry.seq
            if kind in _TAKES_IMAGES and (first := event.image_month) is not None:  # type: ignore[union-attr]
                steps.append(Step(Month(first.year, first.month), entry.time, entry.traceparent, _IMAGE))
    return steps


def _step(event: Event | None, entry: Entry, zone: tzinfo) -> list[Step]:
    match event:
        case TrafficRecorded():
            return [Step(month_of(event, zone), event.until, entry.traceparent, _sums(event))]
        case TrafficBought():
            month = Month.read(event.month)
            return [Step(month, event.at, entry.traceparent, Sums(traffic_bought=event.bytes))]
        case EntitlementsChanged():
            terms = Terms.of(event.version, event.plan, event.entitlements)
            return [Step(Month.of(entry.time, zone), entry.time, entry.traceparent, terms=terms)]
    return []


def _sums(event: TrafficRecorded) -> Sums:
    return Sums(
        sum(item.bytes_in for item in event.items),
        sum(item.bytes_out for item in event.items),
        sum(item.requests for item in event.items),
    )


def walk(held: Months, steps: Iterable[Step], newest: Month) -> Metered:
    """`newest`: the last month that may begin."""
    walker = _Walker(held)
    for step in steps:
        if step.month <= newest:
            walker.begin(step.month, step.at, step.traceparent)
        walker.add(step)
    return walker.result()


def review(held: Months, month: Month, at: datetime) -> tuple[Metered, Sequence[Crossings]]:
    """Begins `month` if an older one stands, and judges what stands: what is passed by that was missed before, and is
    told apart.
    """
    turn = _Walker(held)
    if held.begun is not None:
        turn.begin(month, at, None)
    begun = turn.result()
    arms = dict(held.arms) | {crossing.metric: crossing.arms for crossing in begun.crossings}
    look = _Walker(replace(held, begun=turn.begun, arms=arms))
    look.judge(at, None, anew=True)
    return begun, look.result().crossings


def rejudge(held: Months, month: Month, at: datetime, traceparent: str | None) -> Metered:
    """What stands by thresholds just chosen; `month` is the one that runs."""
    walker = _Walker(held)
    walker.begin(month, at, traceparent)
    walker.judge(at, traceparent, anew=True)
    return walker.result()


class _Walker:
    def __init__(self, held: Months) -> None:
        self.begun = held.begun
        self._tenant = held.tenant_id
        self._terms = held.terms
        self._sums = dict(held.sums)
        self._added: dict[Month, Sums] = {}
        self._started: list[Month] = []
        self._dials = [
            Dial(meter, held.scales[meter.metric], held.arms.get(meter.metric, {}), self._limit(meter))
            for meter in MONTHLY
        ]

    def begin(self, month: Month, at: datetime, traceparent: str | None) -> None:
        """Unless it, or a later one, has begun. What the old one had reached is left, and armed for the new."""
        if self.begun is not None:
            if month <= self.begun:
                return
            for dial in self._dials:
                dial.turn(0, at, traceparent, self.begun)
        self.begun = month
        self._started.append(month)
        self.judge(at, traceparent)  # some of it may have come early

    def add(self, step: Step) -> None:
        if step.terms is not None:
            self._hear(step.terms, step)
            return
        for sums in (self._added, self._sums):
            sums[step.month] = sums.get(step.month, _NOTHING).plus(step.sums)
        if step.month == self.begun:
            self.judge(step.at, step.traceparent)

    def _hear(self, offered: Terms, step: Step) -> None:
        held, self._terms = self._terms, newer(self._terms, offered)
        if self._terms == held:
            return
        self.judge(step.at, step.traceparent, anew=True)

    def judge(self, at: datetime, traceparent: str | None, *, anew: bool = False) -> None:
        """`anew`: by other terms or thresholds than those it stands by, maybe."""
        for dial in self._dials:
            limit = self._limit(dial.meter)  # a month's own, where something was bought
            if anew or limit != dial.limit:
                dial.take(limit)
        if self.begun is None:
            return
        sums = self._sums.get(self.begun, _NOTHING)
        for dial in self._dials:
            dial.turn(sums.used(dial.meter), at, traceparent, self.begun)

    def _limit(self, meter: Meter) -> int | None:
        sums = _NOTHING if self.begun is None else self._sums.get(self.begun, _NOTHING)
        return sums.limit(meter, self._terms.limit_of(meter.limit))

    def result(self) -> Metered:
        passed = [dial.crossings(self._tenant) for dial in self._dials if dial.passed]
        return Metered(self._tenant, self._added, self._started, passed)


@dataclass(slots=True)
class Dial:
    """Thresholds of one metric along a walk: looked at only where usage leaves the band in which none changes sides."""

    meter: Meter
    scale: Scale
    arms: Arms
    limit: int | None
    passed: list[Passed] = field(default_factory=list)
    _floor: int = 0
    _ceiling: int = 0

    def __post_init__(self) -> None:
        self._measure()

    def take(self, limit: int | None) -> None:
        self.limit = limit
        self._floor = self._ceiling = 0  # look again, whatever is used

    def turn(self, used: int, at: datetime, traceparent: str | None, month: Month | None = None) -> None:
        if self._floor <= used < self._ceiling:
            return
        self.arms, passings = self.scale.judge(self.arms, used, self.limit)
        period = None if month is None else month.first
        self.passed += [Passed(passing, at, traceparent, period) for passing in passings]
        self._measure()

    def crossings(self, tenant: UUID) -> Crossings:
        return Crossings(tenant, self.meter.metric, self.arms, self.passed)

    def _measure(self) -> None:
        self._floor, self._ceiling = self.scale.band(self.arms, self.limit)
