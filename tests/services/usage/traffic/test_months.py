from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.usage.months import Month
from services.usage.traffic.rules import fold, parts, total
from services.usage.traffic.snapshot import NONE, ProjectMonth, Projects, Stored
from shared.events import TrafficItem, TrafficRecorded
from tests.services.usage.samples import PROJECTS, TENANT

TENANTS = [TENANT, UUID(int=8)]
JULY = datetime(2026, 7, 1, tzinfo=UTC)
SIZES = st.integers(0, 2**50)
ITEMS = st.builds(
    TrafficItem,
    project_id=st.none() | st.sampled_from(PROJECTS),
    bytes_in=SIZES,
    bytes_out=SIZES,
    requests=st.integers(0, 99),
)
HELD = st.builds(Stored, **dict.fromkeys(Stored.model_fields, SIZES))
EVENTS = st.builds(
    TrafficRecorded,
    tenant_id=st.sampled_from(TENANTS),
    since=st.just(JULY),
    until=st.integers(-90, 90).map(lambda days: JULY + timedelta(days=days)),
    items=st.lists(ITEMS, min_size=1, max_size=5).map(tuple),
)


@given(events=st.lists(EVENTS, max_size=20), order=st.randoms())
def test_sums_are_the_events_however_they_come(events: list[TrafficRecorded], order: st.DataObject) -> None:
    zones = dict.fromkeys(TENANTS, UTC)
    sums = fold(events, zones)
    for tenant in TENANTS:
        own = [item for event in events if event.tenant_id == tenant for item in event.items]
        mine = [held for key, held in sums.items() if key[0] == tenant]
        for name in ("bytes_in", "bytes_out", "requests"):
            assert sum(getattr(held, name) for held in mine) == sum(getattr(item, name) for item in own)
    order.shuffle(events)  # type: ignore[attr-defined]
    assert fold(events, zones) == sums


@pytest.mark.parametrize(
    ("until", "zone", "month"),
    [
        (JULY, "UTC", (2026, 6)),
        (JULY + timedelta(microseconds=1), "UTC", (2026, 7)),
        (JULY - timedelta(hours=2), "Europe/Berlin", (2026, 6)),
        (JULY - timedelta(hours=1), "Europe/Berlin", (2026, 7)),
        (JULY + timedelta(hours=7), "America/Los_Angeles", (2026, 6)),
        (datetime(2027, 1, 1, tzinfo=UTC), "UTC", (2026, 12)),
    ],
)
def test_a_stretch_is_of_the_month_it_ends_in(until: datetime, zone: str, month: tuple[int, int]) -> None:
    item = TrafficItem(project_id=None, bytes_in=1, bytes_out=1, requests=1)
    event = TrafficRecorded(tenant_id=TENANT, since=until - timedelta(seconds=5), until=until, items=(item,))
    assert list(fold([event], {TENANT: ZoneInfo(zone)})) == [(TENANT, Month(*month), NONE)]


@given(
    months=st.dictionaries(st.sampled_from([NONE, *PROJECTS]), st.tuples(SIZES, SIZES, st.integers(5, 7))),
    held=st.dictionaries(st.sampled_from(PROJECTS), HELD),
    rest=HELD,
    current=st.booleans(),
    known=st.booleans(),
)
def test_parts_sum_to_the_total(
    months: dict[UUID, tuple[int, int, int]], held: dict[UUID, Stored], rest: Stored, *, current: bool, known: bool
) -> None:
    """`known`: what the tenant had when the month ended. Rows of May and June tell of July what is still there."""
    rows = [
        ProjectMonth(project_id=project, year=2026, month=m, traffic_in=size, storage_bytes=stored, created_at=JULY)
        for project, (size, stored, m) in months.items()
    ]
    kept = sum(stored for project, (_, stored, _) in months.items() if project != NONE)
    stored = Stored(**{name: sum(getattr(s, name) for s in (*held.values(), rest)) for name in Stored.model_fields})
    ended = kept + rest.bytes
    projects = Projects(months=rows, held=held, stored=stored, ended=ended if known else None, position=1, as_of=JULY)
    month = Month(2026, 7)
    found = parts(projects, month, current=current)
    whole = total(found, month, current=current)
    assert whole.traffic == sum(size for size, _, m in months.values() if m == month.month)
    of_none = months.get(NONE, (0, 0, 0))[1]
    assert whole.storage_bytes == (stored.bytes if current else ended if known else kept + of_none)
    assert whole.stored == (stored if current else None)
    there = {project: amounts for project, amounts in {**held, NONE: rest}.items() if amounts != Stored()}
    shown = {part.project_id: part.stored for part in found if part.stored not in (None, Stored())}
    assert shown == (there if current else {})
    assert len({part.project_id for part in found}) == len(found)
    assert {(part.year, part.month) for part in found} <= {month}


@pytest.mark.parametrize("text", ["2026-7", "2026-13", "2026-00", "0000-01", "2026-07-01", "", "２０２６-07"])
def test_what_is_no_month(text: str) -> None:
    with pytest.raises(ValueError, match="month"):
        Month.read(text)
