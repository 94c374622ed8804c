"""One batch of changes worked through, in order, on what the database holds of them. No I/O.

Everything is decided here: what is admitted, what was done before, which rows and ledger entries come of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from uuid import UUID

from services.upload.ledger.rules import Entry
from services.upload.quota.changes import Change, Result
from services.upload.quota.fates import judge
from services.upload.quota.rules import Alter, Delete, Held, Release, Reserve, Settle, apply
from services.upload.quota.sheet import Known, Row, Sheet, before_of, event_of, holds
from shared.events import FileEvent, FileMoved, FileReplaced, FileRestored, FileStored, FileTrashed
from shared.ids import new_id

READERS = timedelta(hours=1)  # how long bytes that were moved stay for whoever began to read them


@dataclass(slots=True)
class Books(Sheet):
    """`apply` every change once, in order; then the lists hold what is to be written."""

    def apply(self, change: Change) -> Result:
        match change.command:
            case Reserve(id=upload) if upload in self.rows:
                return Result(self.state)  # stored meanwhile: there is nothing left to hold
            case Reserve(id=upload, paid=True) if upload not in self.known.paying:
                return self._hold(change, replace(change.command, paid=False))
            case Reserve() | Release():
                return self._hold(change, change.command)
            case Settle():
                return self._settle(change)
            case Delete():
                return self._delete(change)
            case Alter():
                return self._alter(change)

    def _hold(self, change: Change, command: Reserve | Release) -> Result:
        outcome = apply(self.state, self.held.get(command.id), command)
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
        if command.id in self.rows:
            return Result(self.state)
        if key is not None and key in self.keys:
            return Result(self.state, existing=self.keys[key])
        before = self._replaced(change, file)
        if before is not None and before["path"] == file.path:
            return Result(self.state, event=file.model_copy(update={"file_id": UUID(before["id"])}))  # here before
        if not holds(change, before) or (change.vacant and before is not None):
            return Result(self.state, unmet=True)
        # Nobody knows yet whether what is to be scanned may stay: until then the other bytes do, and both count.
        keeps = before is not None and (self.known.versions_kept > 0 or change.state == "scanning")
        freed = before["size"] if before is not None and not keeps else None
        outcome = apply(self.state, self._held_for(change), replace(command, freed=freed))
        if not outcome.ok:
            return Result(outcome.state, outcome.refused)
        # Others have come and gone since its bytes were read: it is there from now on.
        file = file.model_copy(update={"stored_at": self.now, "image_month": self._image_month(command)})
        if (own := self.held.get(command.id)) is not None and own.paid:
            self.bought.append(command.id)
        self._keep_held(change, outcome.held)
        for taken in change.takes:
            self.touched[taken] = self.now
            self.held.pop(taken, None)
        self.state = outcome.state
        entry = self._store(change, file) if before is None else self._exchange(change, file, before, keeps=keeps)
        if key is not None:
            self.keys[key] = entry.event.file_id
        return Result(self.state, event=entry.event, seq=entry.seq)

    def _held_for(self, change: Change) -> Held | None:
        """What is held in the upload's own name and in the names of those it is made of."""
        own = self.held.get(change.command.id)
        taken = sum(self.held[part].size for part in change.takes if part in self.held)
        if not taken:
            return own
        return Held(taken) if own is None else replace(own, size=taken + own.size)

    def _image_month(self, command: Settle) -> date | None:
        """Of which month it takes an image: the one its reservation holds, as the rules settle it."""
        held = self.held.get(command.id)
        return command.month if held is None or held.month is None else held.month

    def _replaced(self, change: Change, file: FileStored) -> Row | None:
        """The file whose place this one takes. One that is gone by now, or in the trash, leaves a new file."""
        wanted = change.replaces
        if change.exclusive and self.places is not None:
            wanted = self.places.get((file.category, file.folder, file.name), wanted)
        row = None if wanted is None else self.rows.get(wanted)
        shown = row is not None and row["trashed_at"] is None and row["version_of"] is None
        return row if shown else None

    def _store(self, change: Change, file: FileStored) -> Entry[FileEvent]:
        row = _row_of(file, change)
        self.insert(row)
        self.tasks += [(file.file_id, task) for task in change.tasks]
        return self.write("upload", file, file.size, file.stored_at, change)

    def _exchange(self, change: Change, file: FileStored, before: Row, *, keeps: bool) -> Entry[FileEvent]:
        file_id = UUID(before["id"])
        replaced = {"previous": before, "replaced_at": self.now, "replaced_by": file.uploaded_by, "kept": keeps}
        event = FileReplaced.model_validate(
            {**file.model_dump(), "file_id": file_id, "stored_at": before["created_at"], **replaced}
        )
        stored = _row_of(file, change)
        self.update({**stored, "id": str(file_id), "created_at": before["created_at"]})
        self.tasks += [(file_id, task) for task in change.tasks]
        entry = self.write("replace", event, event.size - event.previous.size, self.now, change)
        if keeps:
            self._keep_version(change, before)
        else:
            self.discard(before)
        if change.state != "scanning":
            self.drop_versions(change, before["id"], self.known.versions_kept)
        return entry

    def _keep_version(self, change: Change, before: Row) -> None:
        """The bytes stay where they are and become a file of their own."""
        version = {**before, "id": str(new_id()), "version_of": before["id"], "idempotency_key": None}
        version["updated_at"] = self.now.isoformat()  # when it became one
        self.insert(version)
        event = event_of(FileStored, version)
        self.write("upload", event, event.size, self.now, change)

    def _delete(self, change: Change) -> Result:
        """A file goes with its older versions, in the same commit."""
        row = self.rows.get(change.command.id)
        if row is None or not self._is_given(change):
            return Result(self.state, missing=True)
        if not holds(change, row):
            return Result(self.state, unmet=True)
        self.drop_versions(change, row["id"], 0)
        entry = self.erase(change, row)
        return Result(self.state, event=entry.event, seq=entry.seq)

    def _alter(self, change: Change) -> Result:
        row = self.rows.get(change.command.id)
        if row is None or not self._is_given(change):
            return Result(self.state, missing=True)
        if change.place is not None:
            return self._relocate(change, row, change.place)
        if change.fate is not None:
            return judge(self, change, row, change.fate)
        return self._alter_shown(change, row)

    def _alter_shown(self, change: Change, row: Row) -> Result:
        if row["version_of"] is not None:
            return Result(self.state, missing=True)
        if change.values is not None:
            return self._move(change, row)
        if not holds(change, row):
            return Result(self.state, unmet=True)
        return self._trash(change, row) if change.trash is not None else self._restore(change, row)

    def _move(self, change: Change, row: Row) -> Result:
        values = {name: value for name, value in (change.values or {}).items() if row[name] != value}
        if row["trashed_at"] is not None:
            return Result(self.state, missing=True)
        if not values:
            return Result(self.state, event=event_of(FileStored, row))  # so already, perhaps by this very change
        if not holds(change, row):
            return Result(self.state, unmet=True)
        after = {**row, **values, "updated_at": self.now.isoformat()}
        self.update(after)
        if values.keys() <= {"metadata"}:
            return Result(self.state, event=event_of(FileStored, after))  # nothing that is counted or told
        if after["path"] != row["path"]:
            self.discard(row)
        event = event_of(FileMoved, after, previous=before_of(row), moved_at=self.now, moved_by=change.by)
        entry = self.write("move", event, 0, self.now, change)
        return Result(self.state, event=event, seq=entry.seq)

    def _relocate(self, change: Change, row: Row, place: tuple[str, str]) -> Result:
        """The same bytes elsewhere. Whoever has just looked the old place up still finds them there for a while."""
        location, path = place
        after = {**row, "location": location, "path": path}
        self.update(after)
        self.garbage.append((row["location"], row["path"], row["size"], self.now + READERS))
        if path == row["path"]:
            return Result(self.state)
        event = event_of(FileMoved, after, previous=before_of(row), moved_at=self.now, moved_by=change.by)
        entry = self.write("move", event, 0, self.now, change)
        return Result(self.state, event=event, seq=entry.seq)

    def _is_given(self, change: Change) -> bool:
        rows = ((self.rows.get(file_id), columns) for file_id, columns in change.given.items())
        return all(row is not None and columns.items() <= row.items() for row, columns in rows)

    def _trash(self, change: Change, row: Row) -> Result:
        if row["trashed_at"] is not None or change.trash is None:
            return Result(self.state, missing=True)
        by = None if change.by is None else str(change.by)
        trashed = {"trashed_at": self.now.isoformat(), "trashed_by": by, "purge_at": change.trash.isoformat()}
        self.update({**row, **trashed})
        event = event_of(FileTrashed, row, trashed_at=self.now, trashed_by=change.by, purge_at=change.trash)
        entry = self.write("trash", event, 0, self.now, change)
        return Result(self.state, event=event, seq=entry.seq)

    def _restore(self, change: Change, row: Row) -> Result:
        if row["trashed_at"] is None:
            return Result(self.state, missing=True)
        after = {**row, "trashed_at": None, "trashed_by": None, "purge_at": None}
        self.update(after)
        event = event_of(FileRestored, after, restored_at=self.now, restored_by=change.by)
        entry = self.write("restore", event, 0, self.now, change)
        return Result(self.state, event=event, seq=entry.seq)


def run(
    known: Known, now: datetime, expired: Mapping[UUID, Held], changes: Sequence[Change]
) -> tuple[Books, list[Result]]:
    """`expired`: reservations that may be given away first."""
    books = Books(known, now)
    books.forget(expired)
    return books, [books.apply(change) for change in changes]


def _row_of(file: FileStored, change: Change) -> Row:
    row = file.model_dump(mode="json", exclude={"file_id", "stored_at", "image_month"})
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
