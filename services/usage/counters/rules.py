"""From ledger entries to counters. Pure: the same entries give the same counters and alerts, however batched."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from uuid import UUID

from services.usage.counters.correction import Correction
from services.usage.counters.tally import (
    FILE_EVENTS,
    NOTHING,
    Amount,
    Delta,
    Entry,
    Hidden,
    Kind,
    ProjectMonth,
    Tally,
    Users,
)
from services.usage.entitlements.rules import UNKNOWN, Terms, newer
from services.usage.history.gauge import UNMEASURED, Gauge, Meter, Readings
from services.usage.months import Month
from services.usage.thresholds.rules import DEFAULT, Arms, Crossings, Passed, Scale
from shared.events import EntitlementsChanged, Event, FileReplaced, StorageAdjusted

HALVES = frozenset({FileReplaced, StorageAdjusted})  # what may be one of several entries of the same commit


@dataclass(frozen=True, slots=True)
class State:
    """All that is known of a tenant after entry `position` of its ledger; trash and versions are part of the whole."""

    tenant_id: UUID
    position: int = 0
    bytes: int = 0
    files: int = 0
    trashed: Amount = NOTHING
    versions: Amount = NOTHING
    terms: Terms = UNKNOWN
    arms: Arms = field(default_factory=dict)
    scale: Scale = DEFAULT
    gauge: Gauge = UNMEASURED


@dataclass(frozen=True, slots=True)
class Change:
    before: State
    after: State
    deltas: dict[Kind, Delta] = field(default_factory=dict)
    passed: list[Passed] = field(default_factory=list)
    projects: dict[ProjectMonth, Amount] = field(default_factory=dict)
    finished: Readings = field(default_factory=Readings)
    users: Users = field(default_factory=dict)
    hidden: Hidden = field(default_factory=Hidden)
    others: Sequence[Crossings] = ()  # of the other metrics

    @property
    def differs(self) -> bool:
        """A file moved between kinds leaves the sums as they were, and counted late the position, too."""
        return bool(self.after != self.before or self.deltas or self.projects or self.users or self.hidden)

    @property
    def rings(self) -> bool:
        """Whether there is something to announce."""
        return bool(self.passed or self.others)


def fold(before: State, entries: Iterable[Entry], zone: tzinfo = UTC) -> Change:
    """Walks one tenant's entries in order, so that a threshold passed and left again inside a batch is seen too.

    Entries at or below the position are repeats and change nothing. Projects' months and the days of history are those
    of `zone`.
    """
    position, judgement, meter = before.position, _Judgement(before), Meter(before.gauge, zone)
    tally = Tally(before.bytes, before.files, before.trashed, before.versions, zone)
    for entry in entries:
        event = entry.event
        kind = type(event)
        if kind is EntitlementsChanged:
            judgement.hear(event, tally.bytes, entry)  # type: ignore[arg-type]
        if kind not in FILE_EVENTS or entry.seq <= position:
            continue
        position = entry.seq
        meter.pass_time(entry, tally.bytes, tally.files)
        at = tally.take(event, entry)  # type: ignore[arg-type]
        used = tally.bytes
        if used > meter.peak and not (kind in HALVES and _is_half(event)):
            meter.peak = used
        if not judgement.floor <= used < judgement.ceiling and not (kind in HALVES and _is_half(event)):
            judgement.judge(used, at, entry.traceparent)
    after = State(
        before.tenant_id,
        position,
        tally.bytes,
        tally.files,
        tally.trashed,
        tally.versions,
        judgement.terms,
        judgement.arms,
        before.scale,
        meter.gauge(),
    )
    parts = (tally.projects, meter.finished, tally.users, tally.hidden)
    return Change(before, after, tally.deltas, judgement.passed, *parts)


def count_left_out(before: State, entry: Entry, zone: tzinfo = UTC) -> Change:
    """One entry that was gone past without being counted: counted whatever the position, which never goes back."""
    change = fold(replace(before, position=min(before.position, entry.seq - 1)), [entry], zone)
    # It may be half of a replacement whose other half was counted long ago: what stands now is judged, and a peak.
    gauge = change.after.gauge.reach(change.after.bytes)
    counted = replace(change.after, position=max(before.position, change.after.position), gauge=gauge)
    judged = review(counted, entry.time)
    return replace(change, before=before, after=judged.after, passed=[*change.passed, *judged.passed])


def _is_half(event: Event | None) -> bool:
    """Of a replaced file that is kept as a version the bytes come back with the next entry, of the same commit, and
    those of a version that comes back go: usage never was as low, or as high, as it is in between. Nor is it between
    the entries of one correction.
    """
    match event:
        case FileReplaced():
            return event.kept or event.reverted
        case StorageAdjusted():
            return event.partial
    return False


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


def rescale(before: State, scale: Scale, at: datetime, traceparent: str | None) -> Change:
    """Other thresholds are judged at once by what stands; one that is gone is left."""
    after = replace(before, scale=scale)
    judgement = _Judgement(after)
    judgement.judge(before.bytes, at, traceparent)
    return Change(before, replace(after, arms=judgement.arms), passed=judgement.passed)


def adjust(before: State, correction: Correction, at: datetime, zone: tzinfo = UTC) -> Change:
    """What was not counted as the ledger has it, put right: judged as it stands afterwards. The position stays."""
    judgement, meter = _Judgement(before), Meter(before.gauge, zone)
    meter.move(at, before.bytes, before.files)
    after = replace(
        before,
        bytes=before.bytes + correction.total.bytes,
        files=before.files + correction.total.files,
        trashed=before.trashed.plus(correction.trashed.bytes, correction.trashed.files),
        versions=before.versions.plus(correction.versions.bytes, correction.versions.files),
    )
    judgement.judge(after.bytes, at, None)
    deltas = {kind: Delta(amount.files, amount.bytes, at) for kind, amount in correction.kinds.items()}
    projects = {(project, Month.of(at, zone)): amount for project, amount in correction.projects.items()}
    after = replace(after, arms=judgement.arms, gauge=meter.gauge().reach(after.bytes))
    users = {user.int: [amount.bytes, amount.files] for user, amount in correction.users.items()}
    return Change(before, after, deltas, judgement.passed, projects, meter.finished, users, correction.hidden)


class _Judgement:
    """Thresholds along a walk: looked at only where usage leaves the band in which none can change sides."""

    def __init__(self, before: State) -> None:
        self.terms, self.arms = before.terms, before.arms
        self.passed: list[Passed] = []
        self._scale = before.scale
        self.floor, self.ceiling = self._scale.band(self.arms, self.terms.limit)

    def hear(self, event: EntitlementsChanged, used: int, entry: Entry) -> None:
        offered = Terms.of(event.version, event.plan, event.entitlements)
        self.take(offered, used, entry.time, entry.traceparent)

    def take(self, offered: Terms, used: int, at: datetime, traceparent: str | None) -> None:
        held, self.terms = self.terms, newer(self.terms, offered)
        if self.terms != held:
            self.judge(used, at, traceparent)

    def judge(self, used: int, at: datetime, traceparent: str | None) -> None:
        self.arms, passings = self._scale.judge(self.arms, used, self.terms.limit)
        self.passed += [Passed(passing, at, traceparent) for passing in passings]
        self.floor, self.ceiling = self._scale.band(self.arms, self.terms.limit)


def percentage(used: int, limit: int | None) -> float | None:
    """Of the limit, two decimals, rounded down: 79.999 % is not yet 80. None when unlimited."""
    if limit is None:
        return None
    return used * 10_000 // limit / 100 if limit else 100.0


def share(part: int, total: int) -> float:
    """Of all that is stored, in percent with two decimals."""
    return round(100 * part / total, 2) if total else 0.0
