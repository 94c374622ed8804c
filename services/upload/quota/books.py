"""One batch of changes worked through, in order, on what the database holds of them. No I/O.

Everything is decided here: what is admitted, what was done before, which rows and ledger entries come of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from services.upload.ledger.rules import Entry, Head
from services.upload.quota.changes import Change, Fate, Result
from services.upload.quota.rules import Alter, Delete, Held, Release, Reserve, Settle, State, apply, release_all
from shared.events import (
    FileBefore,
    FileDeleted,
    FileEvent,
    FileMoved,
    FileReplaced,
    FileRestored,
    FileStored,
    FileTrashed,
)
from shared.ids import new_id

E = TypeVar("E", bound=FileEvent)
# What comes back with an older version's bytes; the file's name and place are its own.
_CONTENT = ("path", "location", "size", "sha256", "content_type", "file_type", "uploaded_by", "metadata", "state")
READERS = timedelta(hours=1)  # how long bytes that were moved stay for whoever began to read them

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


@dataclass(slots=True)
class Books:
    """`apply` every change once, in order; then the lists hold what is to be written."""

    known: Known
    now: datetime
    state: State = field(init=False)
    head: Head = field(init=False)
    entries: list[Entry] = field(default_factory=list)
    inserted: list[Row] = field(default_factory=list)
    updated: dict[UUID, Row] = field(default_factory=dict)
    deleted: list[UUID] = field(default_factory=list)
    garbage: list[tuple[str, str, int, datetime]] = field(default_factory=list)  # location, path, size, from when on
    tasks: list[tuple[UUID, str]] = field(default_factory=list)
    touched: dict[UUID, datetime] = field(default_factory=dict)  # reservations, and how long they live now
    held: dict[UUID, Held] = field(init=False)
    _rows: dict[UUID, Row] = field(init=False)
    _versions: dict[str, dict[UUID, Row]] = field(default_factory=dict)  # older ones, by the id of their file
    _keys: dict[str, UUID] = field(init=False)
    _places: dict[Place, UUID] | None = field(init=False)

    def __post_init__(self) -> None:
        self.state, self.head = self.known.state, self.known.head
        self.held = dict(self.known.held)
        self._rows = dict(self.known.rows)
        for file_id, row in self._rows.items():
            if row["version_of"] is not None:
                self._versions.setdefault(row["version_of"], {})[file_id] = row
        self._keys = dict(self.known.keys)
        self._places = None if self.known.places is None else dict(self.known.places)

    def forget(self, expired: Mapping[UUID, Held]) -> None:
        """Gives back what died uploads hold; only before the first change."""
        self.state = release_all(self.state, list(expired.values()))

    def apply(self, change: Change) -> Result:
        match change.command:
            case Reserve(id=upload) if upload in self._rows:
                return Result(self.state)  # stored meanwhile: there is nothing left to hold
            case Reserve() | Release():
                return self._hold(change)
            case Settle():
                return self._settle(change)
            case Delete():
                return self._delete(change)
            case Alter():
                return self._alter(change)

    def _hold(self, change: Change) -> Result:
        outcome = apply(self.state, self.held.get(change.command.id), change.command)
        if outcome.ok:
            self._keep_held(change, outcome.held)
        self.state = outcome.state
        return Result(self.state, outcome.refused)

    def _keep_held(self, change: Change, held: Held | None) -> None:
        self.touched[change.command.id] = self.now + change.lifetime
        self.held.pop(change.command.id, None)
        if held is not None:
            self.held[change.command.id] = held

    def _settle(self, change: Change) -> Result:
        file, command = change.file, change.command
        assert file is not None and isinstance(command, Settle)  # noqa: S101, PT018 - a settlement brings its file
        key = change.idempotency_key
        if command.id in self._rows:
            return Result(self.state)
        if key is not None and key in self._keys:
            return Result(self.state, existing=self._keys[key])
        before = self._replaced(change, file)
        if before is not None and before["path"] == file.path:
            return Result(self.state, event=file.model_copy(update={"file_id": UUID(before["id"])}))  # here before
        if not _holds(change, before) or (change.vacant and before is not None):
            return Result(self.state, unmet=True)
        # Nobody knows yet whether what is to be scanned may stay: until then the other bytes do, and both count.
        keeps = before is not None and (self.known.versions_kept > 0 or change.state == "scanning")
        freed = before["size"] if before is not None and not keeps else None
        outcome = apply(self.state, self._held_for(change), replace(command, freed=freed))
        if not outcome.ok:
            return Result(outcome.state, outcome.refused)
        self._keep_held(change, outcome.held)
        for taken in change.takes:
            self.touched[taken] = self.now
            self.held.pop(taken, None)
        self.state = outcome.state
        entry = self._store(change, file) if before is None else self._exchange(change, file, before, keeps=keeps)
        if key is not None:
            self._keys[key] = entry.file_id
        return Result(self.state, event=entry.event, seq=entry.seq)

    def _held_for(self, change: Change) -> Held | None:
        """What is held in the upload's own name and in the names of those it is made of."""
        own = self.held.get(change.command.id)
        taken = sum(self.held[part].size for part in change.takes if part in self.held)
        return Held(taken + (own.size if own else 0), own.month if own else None) if taken else own

    def _replaced(self, change: Change, file: FileStored) -> Row | None:
        """The file whose place this one takes. One that is gone by now, or in the trash, leaves a new file."""
        wanted = change.replaces
        if change.exclusive and self._places is not None:
            wanted = self._places.get((file.category, file.folder, file.name), wanted)
        row = None if wanted is None else self._rows.get(wanted)
        shown = row is not None and row["trashed_at"] is None and row["version_of"] is None
        return row if shown else None

    def _store(self, change: Change, file: FileStored) -> Entry:
        row = _row_of(file, change)
        self._insert(row)
        self.tasks += [(file.file_id, task) for task in change.tasks]
        return self._write("upload", file, file.size, file.stored_at, change)

    def _exchange(self, change: Change, file: FileStored, before: Row, *, keeps: bool) -> Entry:
        file_id = UUID(before["id"])
        replaced = {"previous": before, "replaced_at": self.now, "replaced_by": file.uploaded_by, "kept": keeps}
        event = FileReplaced.model_validate(
            {**file.model_dump(), "file_id": file_id, "stored_at": before["created_at"], **replaced}
        )
        stored = _row_of(file, change)
        self._update({**stored, "id": str(file_id), "created_at": before["created_at"]})
        self.tasks += [(file_id, task) for task in change.tasks]
        entry = self._write("replace", event, event.size - event.previous.size, self.now, change)
        if keeps:
            self._keep_version(change, before)
        else:
            self._discard(before)
        if change.state != "scanning":
            self._drop_versions(change, before["id"], self.known.versions_kept)
        return entry

    def _keep_version(self, change: Change, before: Row) -> None:
        """The bytes stay where they are and become a file of their own."""
        version = {**before, "id": str(new_id()), "version_of": before["id"], "idempotency_key": None}
        version["updated_at"] = self.now.isoformat()  # when it became one
        self._insert(version)
        event = _event(FileStored, version)
        self._write("upload", event, event.size, self.now, change)

    def _drop_versions(self, change: Change, file_id: str, kept: int) -> None:
        """All but the newest `kept` of a file's older versions, oldest first."""
        rows = self._versions.get(file_id, {}).values()
        oldest = sorted(rows, key=_age)
        for row in oldest[: max(0, len(oldest) - kept)]:
            self._erase(change, row)

    def _delete(self, change: Change) -> Result:
        """A file goes with its older versions, in the same commit."""
        row = self._rows.get(change.command.id)
        if row is None or not self._is_given(change):
            return Result(self.state, missing=True)
        if not _holds(change, row):
            return Result(self.state, unmet=True)
        self._drop_versions(change, row["id"], 0)
        entry = self._erase(change, row)
        return Result(self.state, event=entry.event, seq=entry.seq)

    def _erase(self, change: Change, row: Row) -> Entry:
        self.state = apply(self.state, None, Delete(UUID(row["id"]), row["size"])).state
        trashed = row["trashed_at"] is not None
        event = _event(FileDeleted, row, deleted_at=self.now, deleted_by=change.by, trashed=trashed)
        self._remove(row)
        self._discard(row)
        return self._write("delete", event, -event.size, self.now, change)

    def _alter(self, change: Change) -> Result:
        row = self._rows.get(change.command.id)
        if row is None or not self._is_given(change):
            return Result(self.state, missing=True)
        if change.place is not None:
            return self._relocate(change, row, change.place)
        if change.fate is not None:
            return self._judge(change, row, change.fate)
        return self._alter_shown(change, row)

    def _alter_shown(self, change: Change, row: Row) -> Result:
        if row["version_of"] is not None:
            return Result(self.state, missing=True)
        if change.values is not None:
            return self._move(change, row)
        if not _holds(change, row):
            return Result(self.state, unmet=True)
        return self._trash(change, row) if change.trash is not None else self._restore(change, row)

    def _move(self, change: Change, row: Row) -> Result:
        values = {name: value for name, value in (change.values or {}).items() if row[name] != value}
        if row["trashed_at"] is not None:
            return Result(self.state, missing=True)
        if not values:
            return Result(self.state, event=_event(FileStored, row))  # so already, perhaps by this very change
        if not _holds(change, row):
            return Result(self.state, unmet=True)
        after = {**row, **values, "updated_at": self.now.isoformat()}
        self._update(after)
        if values.keys() <= {"metadata"}:
            return Result(self.state, event=_event(FileStored, after))  # nothing that is counted or told
        if after["path"] != row["path"]:
            self._discard(row)
        event = _event(FileMoved, after, previous=_before(row), moved_at=self.now, moved_by=change.by)
        entry = self._write("move", event, 0, self.now, change)
        return Result(self.state, event=event, seq=entry.seq)

    def _relocate(self, change: Change, row: Row, place: tuple[str, str]) -> Result:
        """The same bytes elsewhere. Whoever has just looked the old place up still finds them there for a while."""
        location, path = place
        after = {**row, "location": location, "path": path}
        self._update(after)
        self.garbage.append((row["location"], row["path"], row["size"], self.now + READERS))
        if path == row["path"]:
            return Result(self.state)
        event = _event(FileMoved, after, previous=_before(row), moved_at=self.now, moved_by=change.by)
        entry = self._write("move", event, 0, self.now, change)
        return Result(self.state, event=event, seq=entry.seq)

    def _judge(self, change: Change, row: Row, fate: Fate) -> Result:
        """What is clean lets go of what was kept for its sake alone; what is infected gives way to it."""
        if row["state"] != "scanning" or not _holds(change, row):
            return Result(self.state, unmet=True)
        if fate == "deleted":
            return self._condemn(change, row)
        self._update({**row, "state": fate})
        if fate == "ready":
            self.tasks += [(UUID(row["id"]), task) for task in change.tasks]
            self._drop_versions(change, row["id"], self.known.versions_kept)
        return Result(self.state)

    def _condemn(self, change: Change, row: Row) -> Result:
        """Its newest version that is known to be clean comes back, else the newest. Without one it goes, and so does a
        file in the trash with all it has.
        """
        older = self._versions.get(row["id"], {}).values()
        if older and row["trashed_at"] is None:
            entry = self._revert(change, row, max(older, key=lambda v: (v["state"] == "ready", *_age(v))))
        else:
            self._drop_versions(change, row["id"], 0)
            entry = self._erase(change, row)
        return Result(self.state, event=entry.event, seq=entry.seq)

    def _revert(self, change: Change, row: Row, version: Row) -> Entry:
        file_id = UUID(row["id"])
        after = {**row, **{name: version[name] for name in _CONTENT}, "idempotency_key": None}
        after["updated_at"] = self.now.isoformat()
        back = Settle(file_id, after["size"], freed=row["size"], force=True)
        self.state = apply(self.state, None, back).state
        self.state = apply(self.state, None, Delete(UUID(version["id"]), version["size"])).state
        self._remove(version)
        self._update(after)
        self._discard(row)
        said = {"previous": row, "replaced_at": self.now, "replaced_by": change.by, "reverted": True}
        event = _event(FileReplaced, after, **said)
        entry = self._write("replace", event, event.size - event.previous.size, self.now, change)
        gone = _event(FileDeleted, version, deleted_at=self.now, deleted_by=change.by)
        self._write("delete", gone, -gone.size, self.now, change)
        if after["state"] == "ready":
            self._drop_versions(change, row["id"], self.known.versions_kept)
        elif after["state"] == "scanning":
            self.tasks.append((file_id, "scan"))
        return entry

    def _is_given(self, change: Change) -> bool:
        rows = ((self._rows.get(file_id), columns) for file_id, columns in change.given.items())
        return all(row is not None and columns.items() <= row.items() for row, columns in rows)

    def _trash(self, change: Change, row: Row) -> Result:
        if row["trashed_at"] is not None or change.trash is None:
            return Result(self.state, missing=True)
        by = None if change.by is None else str(change.by)
        trashed = {"trashed_at": self.now.isoformat(), "trashed_by": by, "purge_at": change.trash.isoformat()}
        self._update({**row, **trashed})
        event = _event(FileTrashed, row, trashed_at=self.now, trashed_by=change.by, purge_at=change.trash)
        entry = self._write("trash", event, 0, self.now, change)
        return Result(self.state, event=event, seq=entry.seq)

    def _restore(self, change: Change, row: Row) -> Result:
        if row["trashed_at"] is None:
            return Result(self.state, missing=True)
        after = {**row, "trashed_at": None, "trashed_by": None, "purge_at": None}
        self._update(after)
        event = _event(FileRestored, after, restored_at=self.now, restored_by=change.by)
        entry = self._write("restore", event, 0, self.now, change)
        return Result(self.state, event=event, seq=entry.seq)

    def _write(self, action: Any, event: FileEvent, delta: int, at: datetime, change: Change) -> Entry:
        entry = Entry.following(self.head, action, event, delta, at, change.metadata, change.traceparent, by=change.by)
        self.entries.append(entry)
        self.head = entry.head
        return entry

    def _insert(self, row: Row) -> None:
        self.inserted.append(row)
        self._see(row)

    def _update(self, row: Row) -> None:
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
        self._rows[file_id] = row
        if row["version_of"] is not None:
            self._versions.setdefault(row["version_of"], {})[file_id] = row
        if self._places is not None and row["version_of"] is None and row["trashed_at"] is None:
            self._places[row["category"], row["folder"], row["name"]] = file_id

    def _unsee(self, row: Row) -> None:
        file_id = UUID(row["id"])
        self._rows.pop(file_id, None)
        if row["version_of"] is not None:
            self._versions.get(row["version_of"], {}).pop(file_id, None)
        if self._places is not None:
            self._places = {place: held for place, held in self._places.items() if held != file_id}

    def _remove(self, row: Row) -> None:
        file_id = UUID(row["id"])
        self._unsee(row)
        self.updated.pop(file_id, None)
        if any(new["id"] == row["id"] for new in self.inserted):
            self.inserted = [new for new in self.inserted if new["id"] != row["id"]]
            self.tasks = [(owner, task) for owner, task in self.tasks if owner != file_id]
        else:
            self.deleted.append(file_id)

    def _discard(self, row: Row) -> None:
        self.garbage.append((row["location"], row["path"], row["size"], self.now))


def run(
    known: Known, now: datetime, expired: Mapping[UUID, Held], changes: Sequence[Change]
) -> tuple[Books, list[Result]]:
    """`expired`: reservations that may be given away first."""
    books = Books(known, now)
    books.forget(expired)
    return books, [books.apply(change) for change in changes]


def _row_of(file: FileStored, change: Change) -> Row:
    row = file.model_dump(mode="json", exclude={"file_id", "stored_at"})
    return {
        **row,
        "id": str(file.file_id),
        "created_at": file.stored_at.isoformat(),
        "updated_at": file.stored_at.isoformat(),
        "metadata": change.metadata,
        "idempotency_key": change.idempotency_key,
        "location": change.location,
        "state": change.state,
        "trashed_at": None,
        "trashed_by": None,
        "purge_at": None,
    }


def _age(version: Row) -> tuple[datetime, str]:
    """To sort versions by, oldest first."""
    return datetime.fromisoformat(version["updated_at"]), version["id"]


def _holds(change: Change, row: Row | None) -> bool:
    return change.condition is None or (row is not None and change.condition(row))


def _before(row: Row) -> FileBefore:
    return FileBefore.model_validate(row)


def _event(kind: type[E], row: Row, **more: Any) -> E:
    return kind.model_validate({**row, "file_id": row["id"], "stored_at": row["created_at"], **more})
