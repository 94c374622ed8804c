"""What a batch of changes comes to while it is worked through: rows, ledger entries, garbage. No I/O, no decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from services.upload.ledger.rules import Entry, Head
from services.upload.quota.changes import Change
from services.upload.quota.rules import Delete, Held, State, apply, release_all
from shared.events import FileBefore, FileDeleted, FileEvent

E = TypeVar("E", bound=FileEvent)

Row = dict[str, Any]  # a stored file, as JSON
Place = tuple[str, str, str]  # category, folder, name


@dataclass(slots=True)
class Known:
    """What the database holds of a batch, read under the account's lock."""

    state: State
    head: Head
    versions_kept: int = 0
    held: dict[UUID, Held] = field(default_factory=dict)
    rows: dict[UUID, Row] = field(default_factory=dict)
    keys: dict[str, UUID] = field(default_factory=dict)
    places: dict[Place, UUID] | None = None  # None when nobody in the batch asks for one
    paying: frozenset[UUID] = frozenset()  # uploads credits are held for


@dataclass(slots=True)
class Sheet:
    """The lists hold what is to be written in the end."""

    known: Known
    now: datetime
    state: State = field(init=False)
    head: Head = field(init=False)
    entries: list[Entry[FileEvent]] = field(default_factory=list)
    inserted: list[Row] = field(default_factory=list)
    updated: dict[UUID, Row] = field(default_factory=dict)
    deleted: list[UUID] = field(default_factory=list)
    garbage: list[tuple[str, str, int, datetime]] = field(default_factory=list)  # location, path, size, from when on
    tasks: list[tuple[UUID, str]] = field(default_factory=list)
    touched: dict[UUID, datetime] = field(default_factory=dict)  # reservations, and how long they live now
    bought: list[UUID] = field(default_factory=list)  # images stored above the quota
    held: dict[UUID, Held] = field(init=False)
    rows: dict[UUID, Row] = field(init=False)
    versions: dict[str, dict[UUID, Row]] = field(default_factory=dict)  # older ones, by the id of their file
    keys: dict[str, UUID] = field(init=False)
    places: dict[Place, UUID] | None = field(init=False)

    def __post_init__(self) -> None:
        self.state, self.head = self.known.state, self.known.head
        self.held = dict(self.known.held)
        self.rows = dict(self.known.rows)
        for file_id, row in self.rows.items():
            if row["version_of"] is not None:
                self.versions.setdefault(row["version_of"], {})[file_id] = row
        self.keys = dict(self.known.keys)
        self.places = None if self.known.places is None else dict(self.known.places)

    def forget(self, expired: Mapping[UUID, Held]) -> None:
        """Gives back what died uploads hold; only before the first change."""
        self.state = release_all(self.state, list(expired.values()))

    def erase(self, change: Change, row: Row) -> Entry[FileEvent]:
        self.state = apply(self.state, None, Delete(UUID(row["id"]), row["size"])).state
        trashed = row["trashed_at"] is not None
        event = event_of(FileDeleted, row, deleted_at=self.now, deleted_by=change.by, trashed=trashed)
        self.remove(row)
        self.discard(row)
        return self.write("delete", event, -event.size, self.now, change)

    def drop_versions(self, change: Change, file_id: str, kept: int) -> None:
        """All but the newest `kept` of a file's older versions, oldest first."""
        rows = self.versions.get(file_id, {}).values()
        oldest = sorted(rows, key=age_of)
        for row in oldest[: max(0, len(oldest) - kept)]:
            self.erase(change, row)

    def write(self, action: Any, event: FileEvent, delta: int, at: datetime, change: Change) -> Entry[FileEvent]:
        entry = Entry.following(self.head, action, event, delta, at, change.metadata, change.traceparent, by=change.by)
        self.entries.append(entry)
        self.head = entry.head
        return entry

    def insert(self, row: Row) -> None:
        self.inserted.append(row)
        self._see(row)

    def update(self, row: Row) -> None:
        """Of a row inserted in this batch the insertion is changed: the two statements do not see each other."""
        file_id = UUID(row["id"])
        for number, new in enumerate(self.inserted):
            if new["id"] == row["id"]:
                self.inserted[number] = row
                break
        else:
            self.updated[file_id] = row
        self._see(row)

    def _see(self, row: Row) -> None:
        self._unsee(row)
        file_id = UUID(row["id"])
        self.rows[file_id] = row
        if row["version_of"] is not None:
            self.versions.setdefault(row["version_of"], {})[file_id] = row
        if self.places is not None and row["version_of"] is None and row["trashed_at"] is None:
            self.places[row["category"], row["folder"], row["name"]] = file_id

    def _unsee(self, row: Row) -> None:
        file_id = UUID(row["id"])
        self.rows.pop(file_id, None)
        if row["version_of"] is not None:
            self.versions.get(row["version_of"], {}).pop(file_id, None)
        if self.places is not None:
            self.places = {place: held for place, held in self.places.items() if held != file_id}

    def remove(self, row: Row) -> None:
        file_id = UUID(row["id"])
        self._unsee(row)
        self.updated.pop(file_id, None)
        if any(new["id"] == row["id"] for new in self.inserted):
            self.inserted = [new for new in self.inserted if new["id"] != row["id"]]
            self.tasks = [(owner, task) for owner, task in self.tasks if owner != file_id]
        else:
            self.deleted.append(file_id)

    def discard(self, row: Row) -> None:
        self.garbage.append((row["location"], row["path"], row["size"], self.now))


def age_of(version: Row) -> tuple[datetime, str]:
    """To sort versions by, oldest first."""
    return datetime.fromisoformat(version["updated_at"]), version["id"]


def holds(change: Change, row: Row | None) -> bool:
    return change.condition is None or (row is not None and change.condition(row))


def before_of(row: Row) -> FileBefore:
    return FileBefore.model_validate(row)


def event_of(kind: type[E], row: Row, **more: Any) -> E:
    return kind.model_validate({**row, "file_id": row["id"], "stored_at": row["created_at"], **more})
