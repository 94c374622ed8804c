"""Whole histories of a tenant, in batches, on books kept in memory: every sum must agree with what is there."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from services.upload.ledger.rules import Entry, Head, link
from services.upload.quota import books
from services.upload.quota.changes import Change, Result
from services.upload.quota.rules import Alter, Delete, Held, Images, Release, Reserve, Settle, State
from services.upload.quota.sheet import Known, Row
from shared.events import FileEvent
from tests.shared.kafka.samples import stored

TENANT = UUID(int=1)
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LIMIT = 100  # bytes
IMAGES = 1  # a month
MONTHS = (date(2026, 1, 1), date(2026, 2, 1))
KINDS = (("text/plain", "document", "documents"), ("image/png", "image", "properties"))


@dataclass
class World:
    """What a database would hold: the sums the books keep, and the things themselves."""

    versions_kept: int = 0
    state: State = field(default_factory=lambda: State(LIMIT, images_limit=IMAGES))
    head: Head = field(default_factory=Head)
    held: dict[UUID, Held] = field(default_factory=dict)
    rows: dict[UUID, Row] = field(default_factory=dict)
    entries: list[Entry[FileEvent]] = field(default_factory=list)
    garbage: list[str] = field(default_factory=list)
    placed: set[str] = field(default_factory=set)
    images: Counter[date] = field(default_factory=Counter)  # admitted by a settlement, counted by hand
    paying: set[UUID] = field(default_factory=set)  # uploads credits are held for
    bought: list[UUID] = field(default_factory=list)

    def commit(self, changes: list[Change], now: datetime = NOW) -> list[Result]:
        shown = (r for r in self.rows.values() if r["version_of"] is None and r["trashed_at"] is None)
        places = {(r["category"], r["folder"], r["name"]): UUID(r["id"]) for r in shown}
        known = Known(
            self.state, self.head, self.versions_kept, self.held, self.rows, {}, places, frozenset(self.paying)
        )
        months = {c.command.id: held.month for c in changes if (held := self.held.get(c.command.id)) is not None}
        done, results = books.run(known, now, {}, changes)
        self.state, self.head, self.held = done.state, done.head, done.held
        self.entries += done.entries
        self.bought += done.bought
        self.placed |= {entry.event.path for entry in done.entries}
        self.garbage += [path for _, path, _, _ in done.garbage]
        assert not set(done.updated) & {UUID(row["id"]) for row in done.inserted}
        for file_id in done.deleted:
            del self.rows[file_id]
        self.rows |= done.updated | {UUID(row["id"]): row for row in done.inserted}
        for change, result in zip(changes, results, strict=True):
            command = change.command
            if isinstance(command, Reserve) and result.ok and command.month and months.get(command.id) is None:
                months[command.id] = command.month
            elif isinstance(command, Release):
                months.pop(command.id, None)
            elif isinstance(command, Settle) and result.ok and (month := months.pop(command.id, None)):
                self.images[month] += 1
        return results

    def check(self) -> None:
        assert self.state.used == sum(row["size"] for row in self.rows.values())
        assert self.state.files == len(self.rows)
        assert self.state.reserved == sum(held.size for held in self.held.values())
        assert self.state.used + self.state.reserved <= LIMIT
        for month in MONTHS:
            counted = self.state.images.get(month, Images())
            waiting = sum(held.month == month for held in self.held.values())
            assert (counted.used, counted.reserved) == (self.images[month], waiting)
            assert counted.used + counted.reserved <= IMAGES + counted.bought + counted.buying
            assert counted.buying == sum(held.month == month and held.paid for held in self.held.values())
        assert sum(images.bought for images in self.state.images.values()) == len(self.bought)
        assert set(self.bought) | {upload for upload, held in self.held.items() if held.paid} <= self.paying
        assert folded(self.entries) == kinds(self.rows)
        assert sum(entry.delta for entry in self.entries) == self.state.used
        self.check_chain()
        assert trashed(self.entries) == {file_id for file_id, row in self.rows.items() if row["trashed_at"] is not None}
        paths = [row["path"] for row in self.rows.values()]
        assert len(paths) == len(set(paths))
        assert set(paths) | set(self.garbage) == self.placed
        assert not set(paths) & set(self.garbage)

    def check_chain(self) -> None:
        head = Head()
        for entry in self.entries:
            assert (entry.seq, entry.prev_hash) == (head.seq + 1, head.hash)
            assert entry.hash == link(head.hash, entry.seq, entry.id, entry.event.type, entry.at, entry.body)
            head = entry.head
        assert head == self.head


def kinds(rows: dict[UUID, Row]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for row in rows.values():
        found[row["file_type"], row["category"]] += row["size"]
    return +found


def folded(entries: list[Entry[FileEvent]]) -> Counter[tuple[str, str]]:
    """By kind, from the columns of the ledger alone."""
    found: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        if (before := entry.previous) is not None:
            found[before.file_type, before.category] -= before.size
        sign = {"delete": -1, "trash": 0, "restore": 0}.get(entry.action, 1)
        found[entry.event.file_type, entry.event.category] += sign * entry.event.size
    return +found


def trashed(entries: list[Entry[FileEvent]]) -> set[UUID]:
    """Nothing goes into the trash twice, and nothing comes out of it that is not there."""
    found: set[UUID] = set()
    for entry in entries:
        if entry.action == "trash":
            assert entry.event.file_id not in found
            found.add(entry.event.file_id)
        elif entry.action == "restore":
            found.remove(entry.event.file_id)
        elif entry.action == "delete":
            found.discard(entry.event.file_id)
    return found


def settlement(draw: Any, upload: UUID, size: int, replaces: UUID | None) -> Change:
    content_type, file_type, category = draw(st.sampled_from(KINDS))
    file = stored(TENANT, size).model_copy(
        update={
            "file_id": upload,
            "path": f"customers/{upload}-{uuid4()}",
            "name": draw(st.sampled_from(["a", "b"])),
            "content_type": content_type,
            "file_type": file_type,
            "category": category,
        }
    )
    state = draw(st.sampled_from(["ready", "scanning"]))
    return Change(Settle(upload, size), file=file, replaces=replaces, exclusive=draw(st.booleans()), state=state)


@st.composite
def histories(draw: Any) -> World:
    world = World(versions_kept=draw(st.sampled_from([0, 2])))
    for _ in range(draw(st.integers(1, 12))):
        batch = [change_of(draw, world) for _ in range(draw(st.integers(1, 4)))]
        settled = [c.command.id for c in batch if isinstance(c.command, Settle)]
        if len(settled) == len(set(settled)):  # an upload settles once
            world.commit(batch)
            world.check()
    return world


def change_of(draw: Any, world: World) -> Change:
    fresh = uuid4()
    upload = draw(st.sampled_from([fresh, *world.held]))
    file = draw(st.sampled_from([fresh, *world.rows]))
    size = draw(st.integers(0, LIMIT // 2))
    paid = draw(st.booleans())
    if paid and draw(st.booleans()):  # others say so, and nothing is held for them
        world.paying.add(upload)
    values = {"name": draw(st.sampled_from(["a", "b"])), "path": f"customers/{uuid4()}"}
    values["category"] = draw(st.sampled_from(["documents", "properties"]))
    options = {
        "reserve": Change(Reserve(upload, size, draw(st.sampled_from([None, *MONTHS])), paid)),
        "settle": settlement(draw, upload, size, None),
        "replace": settlement(draw, upload, size, file),
        "release": Change(Release(upload)),
        "delete": Change(Delete(file, 0)),
        "trash": Change(Alter(file), trash=NOW + timedelta(days=30)),
        "restore": Change(Alter(file)),
        "judge": Change(Alter(file), fate=draw(st.sampled_from(["ready", "blocked", "deleted"]))),
        "move": Change(Alter(file), values=values),
    }
    return options[draw(st.sampled_from(sorted(options)))]


@given(histories())
@settings(max_examples=300, deadline=None)
def test_every_sum_agrees_after_every_batch(world: World) -> None:
    """Asserted batch by batch in the strategy; here the whole of it once more, in one batch after another's sums."""
    world.check()


def test_a_batch_tried_again_changes_nothing() -> None:
    """A connection that broke leaves the commit in doubt, and the same changes come once more."""
    world, upload, second = World(), uuid4(), uuid4()
    first = Change(Settle(upload, 10), file=_file(upload, 10))
    other = Change(Settle(second, 30), file=_file(second, 30), replaces=upload)
    world.commit([first])
    world.commit([other])
    before = (world.state, world.head, dict(world.rows))
    assert [result.ok for result in world.commit([first, other])] == [True, True]
    assert (world.state, world.head, world.rows) == before


def test_a_replacement_needs_only_the_difference() -> None:
    world, upload = World(), uuid4()
    world.commit([Change(Settle(upload, 90), file=_file(upload, 90))])
    bigger, next_upload, biggest = uuid4(), uuid4(), uuid4()
    assert world.commit([Change(Reserve(bigger, 10)), Change(Reserve(next_upload, 1))])[1].refused == "bytes"
    replaced = world.commit([Change(Settle(bigger, 100), file=_file(bigger, 100), replaces=upload)])[0]
    assert (replaced.ok, world.state.used, world.state.files) == (True, 100, 1)
    assert replaced.event is not None
    assert replaced.event.file_id == upload
    refused = world.commit([Change(Settle(biggest, 101), file=_file(biggest, 101), replaces=upload)])[0]
    assert refused.refused == "bytes"
    world.check()


def test_a_kept_version_is_counted_and_shown_in_the_ledger() -> None:
    world, upload, second = World(versions_kept=1), uuid4(), uuid4()
    world.commit([Change(Settle(upload, 40), file=_file(upload, 40))])
    world.commit([Change(Settle(second, 50), file=_file(second, 50), replaces=upload)])
    assert (world.state.used, world.state.files) == (90, 2)
    assert [(entry.action, entry.delta) for entry in world.entries] == [("upload", 40), ("replace", 10), ("upload", 40)]
    assert world.entries[-1].event.version_of == upload
    world.check()


def test_clean_bytes_end_what_was_kept_for_their_sake() -> None:
    world, upload = scanned_replacement(versions_kept=0)
    assert (world.state.used, world.state.files) == (90, 2)
    world.commit([Change(Alter(upload), fate="ready")])
    assert (world.state.used, [row["state"] for row in world.rows.values()]) == (50, ["ready"])
    world.check()


def test_infected_bytes_give_way_to_those_they_replaced() -> None:
    for kept in (0, 2):
        world, upload = scanned_replacement(versions_kept=kept)
        world.commit([Change(Alter(upload), fate="deleted")])
        (row,) = world.rows.values()
        assert (row["id"], row["path"], row["size"], row["state"]) == (str(upload), f"customers/{upload}", 40, "ready")
        assert (world.state.used, world.state.files) == (40, 1)
        assert [(e.action, e.delta) for e in world.entries[-2:]] == [("replace", -10), ("delete", -40)]
        assert world.garbage == [world.entries[1].event.path]
        assert world.commit([Change(Alter(upload), fate="deleted")])[0].unmet, "nobody judges the same bytes twice"
        world.check()


def test_of_many_the_newest_known_to_be_clean_comes_back() -> None:
    world, upload = scanned_replacement(versions_kept=0)
    third = uuid4()
    world.commit([Change(Settle(third, 5), file=_file(third, 5), replaces=upload, state="scanning")])
    assert world.state.used == 95, "neither of two is known to be clean: the first still stays"
    world.commit([Change(Alter(upload), fate="deleted")])
    assert {(row["id"] == str(upload), row["size"]) for row in world.rows.values()} == {(True, 40)}
    world.check()


def test_time_never_goes_back_along_a_ledger() -> None:
    """An upload was described before others came and went; another process's clock is behind."""
    world, first, second = World(), uuid4(), uuid4()
    world.commit([Change(Settle(first, 10), file=_file(first, 10))], NOW)
    world.commit([Change(Delete(first, 0))], NOW + timedelta(seconds=5))
    late = _file(second, 20).model_copy(update={"stored_at": NOW + timedelta(seconds=3)})
    world.commit([Change(Settle(second, 20), file=late)], NOW + timedelta(seconds=4))
    world.commit([Change(Delete(second, 0))], NOW + timedelta(seconds=7))
    assert [(entry.at - NOW).seconds for entry in world.entries] == [0, 5, 5, 7]
    world.check()


def scanned_replacement(versions_kept: int) -> tuple[World, UUID]:
    """Of 40 clean bytes by 50 that wait for the scanner."""
    world, upload, second = World(versions_kept=versions_kept), uuid4(), uuid4()
    world.commit([Change(Settle(upload, 40), file=_file(upload, 40))])
    world.commit([Change(Settle(second, 50), file=_file(second, 50), replaces=upload, state="scanning")])
    return world, upload


def _file(upload: UUID, size: int) -> Any:
    return stored(TENANT, size).model_copy(update={"file_id": upload, "path": f"customers/{upload}"})
