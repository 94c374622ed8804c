"""From ledger entries to counters. Pure: the same entries give the same counters and alerts, however batched."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.usage.entitlements.rules import UNKNOWN, Terms, newer
from services.usage.thresholds.rules import Arms, Passing, band, judge
from shared.events import EntitlementsChanged, Event, FileDeleted, FileStored


class Entry(Protocol):
    """A record as it comes from a topic."""

    @property
    def seq(self) -> int: ...
    @property
    def time(self) -> datetime: ...
    @property
    def event(self) -> Event | None: ...
    @property
    def traceparent(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class State:
    """All that is known of a tenant after entry `position` of its ledger."""

    tenant_id: UUID
    position: int = 0
    bytes: int = 0
    files: int = 0
    terms: Terms = UNKNOWN
    arms: Arms = field(default_factory=dict)


@dataclass(slots=True)
class Delta:
    """What one (file type, category) gained or lost, and when it last did."""

    files: int
    bytes: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Passed:
    """A threshold passed, when, and in which trace."""

    passing: Passing
    at: datetime
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Change:
    before: State
    after: State
    deltas: dict[tuple[str, str], Delta] = field(default_factory=dict)
    passed: list[Passed] = field(default_factory=list)


def fold(before: State, entries: Iterable[Entry]) -> Change:
    """Walks one tenant's entries in order, so that a threshold passed and left again inside a batch is seen too.

    Entries at or below the position are repeats and change nothing.
    """
    position, used, files = before.position, before.bytes, before.files
    judgement = _Judgement(before)
    deltas: dict[tuple[str, str], Delta] = {}
    for entry in entries:
        event = entry.event
        # Exact types: isinstance asks pydantic's metaclass, which costs as much as the rest of the loop.
        if type(event) is FileStored:
            sign, at = 1, event.stored_at
        elif type(event) is FileDeleted:
            sign, at = -1, event.deleted_at
        else:
            if type(event) is EntitlementsChanged:
                judgement.hear(event, used, entry)
            continue
        if entry.seq <= position:
            continue
        position = entry.seq
        size = sign * event.size
        used += size
        files += sign
        delta = deltas.get((event.file_type, event.category))
        if delta is None:
            deltas[event.file_type, event.category] = Delta(sign, size, at)
        else:
            delta.files += sign
            delta.bytes += size
            delta.at = at
        if not judgement.floor <= used < judgement.ceiling:
            judgement.judge(used, at, entry.traceparent)
    after = State(before.tenant_id, position, used, files, judgement.terms, judgement.arms)
    return Change(before, after, deltas, judgement.passed)


def grant(before: State, offered: Terms, at: datetime, traceparent: str | None) -> Change:
    """New terms move every percentage, so they are judged like a change of usage."""
    judgement = _Judgement(before)
    judgement.take(offered, before.bytes, at, traceparent)
    after = replace(before, terms=judgement.terms, arms=judgement.arms)
    return Change(before, after, passed=judgement.passed)


def review(before: State, at: datetime) -> Change:
    """Judges what stands: anything passed here was missed before."""
    judgement = _Judgement(before)
    judgement.judge(before.bytes, at, None)
    return Change(before, replace(before, arms=judgement.arms), passed=judgement.passed)


class _Judgement:
    """Thresholds along a walk: looked at only where usage leaves the band in which none can change sides."""

    def __init__(self, before: State) -> None:
        self.terms, self.arms = before.terms, before.arms
        self.passed: list[Passed] = []
        self.floor, self.ceiling = band(before.bytes, before.terms.limit)

    def hear(self, event: EntitlementsChanged, used: int, entry: Entry) -> None:
        offered = Terms(event.version, event.plan, event.entitlements.storage_bytes)
        self.take(offered, used, entry.time, entry.traceparent)

    def take(self, offered: Terms, used: int, at: datetime, traceparent: str | None) -> None:
        held, self.terms = self.terms, newer(self.terms, offered)
        if self.terms != held:
            self.judge(used, at, traceparent)

    def judge(self, used: int, at: datetime, traceparent: str | None) -> None:
        self.arms, passings = judge(self.arms, used, self.terms.limit)
        self.passed += [Passed(passing, at, traceparent) for passing in passings]
        self.floor, self.ceiling = band(used, self.terms.limit)


def percentage(used: int, limit: int | None) -> float | None:
    """Of the limit, two decimals, rounded down: 79.999 % is not yet 80. None when unlimited."""
    if limit is None:
        return None
    return used * 10_000 // limit / 100 if limit else 100.0


def share(part: int, total: int) -> float:
    """Of all that is stored, in percent with two decimals."""
    return round(100 * part / total, 2) if total else 0.0
