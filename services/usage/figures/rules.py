"""Thresholds of what is told outright. Pure.

The newest told is the whole truth: what comes again, late or after a loss changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from services.usage.counters.tally import Entry
from services.usage.entitlements.rules import Terms, newer
from services.usage.figures.figure import Figure
from services.usage.metering.meters import FIGURES, METERS, TELLING, Meter
from services.usage.metering.rules import Dial
from services.usage.months import Month
from services.usage.thresholds.rules import Arms, Crossings, Scale
from shared.events import EntitlementsChanged, Metric

HEARD = frozenset({EntitlementsChanged, *TELLING})


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of one tenant; a metric nobody has told of yet has no figure, and is not judged."""

    tenant_id: UUID
    terms: Terms
    figures: Mapping[Metric, Figure]
    arms: Mapping[Metric, Arms]
    scales: Mapping[Metric, Scale]


@dataclass(frozen=True, slots=True)
class Noted:
    """What is to be written: figures that are new, and what was passed."""

    tenant_id: UUID
    figures: Mapping[Metric, Figure]
    crossings: Sequence[Crossings]


def walk(held: Held, entries: Iterable[Entry], newest: Month) -> Noted:
    """One tenant's, in order. `newest`: the last month that may begin."""
    walker = _Walker(held)
    for entry in entries:
        walker.hear(entry, newest)
    return walker.result()


def grant(held: Held, terms: Terms, at: datetime, traceparent: str | None) -> Noted:
    """Other terms are judged like a change of what is used."""
    walker = _Walker(held)
    walker.grant(terms, at, traceparent)
    return walker.result()


def rejudge(held: Held, metric: Metric, month: Month, at: datetime, traceparent: str | None) -> Noted:
    """What stands of one metric by thresholds just chosen; `month` is the one that runs."""
    walker = _Walker(held)
    walker.begin(month, at, traceparent)
    walker.judge(METERS[metric], at, traceparent, anew=True)
    return walker.result()


def review(held: Held, month: Month, at: datetime) -> tuple[Noted, Sequence[Crossings]]:
    """Begins `month` where an older one stands, and judges what stands: what is passed by that was missed before, and
    is told apart.
    """
    turn = _Walker(held)
    turn.begin(month, at, None)
    begun = turn.result()
    arms = {**held.arms, **{crossing.metric: crossing.arms for crossing in begun.crossings}}
    look = _Walker(replace(held, figures={**held.figures, **begun.figures}, arms=arms))
    for meter in FIGURES:
        look.judge(meter, at, None, anew=True)
    return begun, look.result().crossings


class _Walker:
    def __init__(self, held: Held) -> None:
        self._tenant = held.tenant_id
        self._terms = held.terms
        self._figures = dict(held.figures)
        self._changed: dict[Metric, Figure] = {}
        self._dials = {
            meter.metric: Dial(meter, held.scales[meter.metric], held.arms.get(meter.metric, {}), self._limit(meter))
            for meter in FIGURES
        }

    def hear(self, entry: Entry, newest: Month) -> None:
        event = entry.event
        if isinstance(event, EntitlementsChanged):
            self.grant(Terms.of(event.version, event.plan, event.entitlements), entry.time, entry.traceparent)
        for meter, told in TELLING.get(type(event), ()):
            self._take(meter, told.read(event, entry.seq, newest), entry.time, entry.traceparent)

    def grant(self, offered: Terms, at: datetime, traceparent: str | None) -> None:
        held, self._terms = self._terms, newer(self._terms, offered)
        if self._terms != held:
            for meter in FIGURES:
                self.judge(meter, at, traceparent)

    def begin(self, month: Month, at: datetime, traceparent: str | None) -> None:
        """What an older month had reached is left, and armed for this one."""
        for meter in FIGURES:
            figure = self._figures.get(meter.metric)
            if figure is not None and figure.on(month) != figure:
                self._put(meter, figure.on(month), at, traceparent)

    def judge(self, meter: Meter, at: datetime, traceparent: str | None, *, anew: bool = False) -> None:
        """`anew`: by other thresholds than those it stands by, maybe."""
        figure, dial, limit = self._figures.get(meter.metric), self._dials[meter.metric], self._limit(meter)
        if anew or limit != dial.limit:
            dial.take(limit)
        if figure is not None:
            dial.turn(figure.used, at, traceparent, figure.month)

    def result(self) -> Noted:
        passed = [dial.crossings(self._tenant) for dial in self._dials.values() if dial.passed]
        return Noted(self._tenant, self._changed, passed)

    def _take(self, meter: Meter, figure: Figure, at: datetime, traceparent: str | None) -> None:
        before = self._figures.get(meter.metric)
        if before is None:
            self._put(meter, figure, at, traceparent)
        elif figure.seq > before.seq:
            # Late news of a month that has ended since says what is left, and nothing of the month that runs.
            self._put(meter, figure.on(before.month) if before.month else figure, at, traceparent)

    def _put(self, meter: Meter, figure: Figure, at: datetime, traceparent: str | None) -> None:
        before = self._figures.get(meter.metric)
        if before is not None and before.month != figure.month:
            self._dials[meter.metric].turn(0, at, traceparent, before.month)
        self._figures[meter.metric] = self._changed[meter.metric] = figure
        self.judge(meter, at, traceparent)

    def _limit(self, meter: Meter) -> int | None:
        granted, figure = self._terms.limit_of(meter.limit), self._figures.get(meter.metric)
        return granted if figure is None else figure.limit(granted)
