"""What each file event does to a tenant's counters. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, Protocol, TypeVar
from uuid import UUID

from services.usage.months import Month
from shared.events import (
    Event,
    FileBefore,
    FileDeleted,
    FileEvent,
    FileMoved,
    FileReplaced,
    FileRestored,
    FileStored,
    FileTrashed,
    StorageAdjusted,
)

Key = TypeVar("Key")
Kind = tuple[str, str]  # file type, category
ProjectMonth = tuple[UUID, Month]
FILE_EVENTS = frozenset({FileStored, FileReplaced, FileMoved, FileTrashed, FileRestored, FileDeleted, StorageAdjusted})


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
class Amount:
    bytes: int = 0
    files: int = 0

    def plus(self, size: int, files: int) -> "Amount":
        return Amount(self.bytes + size, self.files + files)


NOTHING = Amount()
Users = dict[int, list[int]]  # bytes and files of those who uploaded them, by the number of their id
TRASH, VERSIONS = 0, 2  # where their bytes and files begin in what is hidden


@dataclass(slots=True)
class Delta:
    """What one kind gained or lost, and when it last did."""

    files: int
    bytes: int
    at: datetime


@dataclass(slots=True)
class Hidden:
    """Bytes and files in the trash, then bytes and files in older versions: what came and went of each kind, project
    and person. Few entries speak of any, and the others pay nothing for it.
    """

    kinds: dict[Kind, list[int]] = field(default_factory=dict)
    projects: dict[UUID, list[int]] = field(default_factory=dict)
    users: dict[UUID, list[int]] = field(default_factory=dict)

    def take(self, file: FileEvent, part: int, sign: int) -> None:
        self.add(self.kinds, (file.file_type, file.category), part, sign * file.size, sign)
        if file.project_id is not None and file.project_id.int:
            self.add(self.projects, file.project_id, part, sign * file.size, sign)
        if file.uploaded_by is not None:
            self.add(self.users, file.uploaded_by, part, sign * file.size, sign)

    @staticmethod
    def add(held: dict[Key, list[int]], key: Key, part: int, size: int, files: int) -> None:
        amounts = held.setdefault(key, [0, 0, 0, 0])
        amounts[part] += size
        amounts[part + 1] += files

    @staticmethod
    def rows(changes: Mapping[UUID, Mapping[Key, list[int]]]) -> list[tuple[Any, ...]]:
        """Of each tenant's: the tenant, the key and the four amounts, where there are any."""
        return [
            (tenant, *(key if isinstance(key, tuple) else (key,)), *amounts)
            for tenant, held in changes.items()
            for key, amounts in held.items()
            if any(amounts)
        ]

    def __bool__(self) -> bool:
        return bool(self.kinds or self.projects or self.users)


@dataclass(slots=True)
class Tally:
    """Walks along: `trashed` and `versions` are parts of `bytes` and `files`, and so are the sums over all kinds.
    `projects` have what came and went in each month of `zone`, `users` of which person's files it was. `hidden` is
    part of all of these.
    """

    bytes: int
    files: int
    trashed: Amount
    versions: Amount
    zone: tzinfo
    deltas: dict[Kind, Delta] = field(default_factory=dict)
    projects: dict[ProjectMonth, Amount] = field(default_factory=dict)
    users: Users = field(default_factory=dict)
    hidden: Hidden = field(default_factory=Hidden)

    def take(self, event: FileEvent, entry: Entry) -> datetime:
        """Counts one event; returns when it happened."""
        # Exact types: isinstance asks pydantic's metaclass, which costs as much as the rest of the loop.
        kind = type(event)
        if kind is FileStored:
            at, sign = event.stored_at, 1
            if event.version_of is not None:
                at = entry.time  # its bytes are older than its being a version
                self._keep(event, 1)
        elif kind is FileDeleted:
            at, sign = self._leave(event), -1  # type: ignore[arg-type]
        else:
            return self._change(event)
        self._count(event, sign, at)
        self._attribute(event, sign)
        return at

    def _leave(self, event: FileDeleted) -> datetime:
        if event.version_of is not None:
            self._keep(event, -1)
        if event.trashed:
            self._trash(event, -1)
        return event.deleted_at

    def _keep(self, event: FileEvent, sign: int) -> None:
        self.versions = self.versions.plus(sign * event.size, sign)
        self.hidden.take(event, VERSIONS, sign)

    def _trash(self, event: FileEvent, sign: int) -> None:
        self.trashed = self.trashed.plus(sign * event.size, sign)
        self.hidden.take(event, TRASH, sign)

    def _change(self, event: FileEvent | StorageAdjusted) -> datetime:
        """What brings no new file and takes none away."""
        match event:
            case FileReplaced():
                self._attribute(event.previous, -1)
                self._attribute(event, 1)
                return self._exchange(event, event.previous, event.replaced_at)
            case FileMoved():
                return self._exchange(event, event.previous, event.moved_at)
            case FileTrashed():
                self._trash(event, 1)
                return event.trashed_at
            case FileRestored():
                self._trash(event, -1)
                return event.restored_at
            case StorageAdjusted():
                return self._adjust(event)
        raise TypeError(f"{event.type} is no event of files")

    def _adjust(self, event: StorageAdjusted) -> datetime:
        """No file came or went: no project, no trash and no version changes."""
        if event.delta_bytes or event.delta_files:
            self.bytes += event.delta_bytes
            self.files += event.delta_files
            delta = self.deltas.setdefault((event.file_type, event.category), Delta(0, 0, event.at))
            delta.files += event.delta_files
            delta.bytes += event.delta_bytes
            delta.at = event.at
        return event.at

    def _exchange(self, after: FileEvent, before: FileBefore, at: datetime) -> datetime:
        self._count(before, -1, at)
        self._count(after, 1, at)
        return at

    def _attribute(self, file: FileEvent | FileBefore, sign: int) -> None:
        """What moves stays its uploader's."""
        if file.uploaded_by is not None:
            user = file.uploaded_by.int  # a UUID is hashed by Python, for every file there is
            held = self.users.get(user)
            if held is None:
                self.users[user] = [sign * file.size, sign]
            else:
                held[0] += sign * file.size
                held[1] += sign

    def _count(self, file: FileEvent | FileBefore, sign: int, at: datetime) -> None:
        size = sign * file.size
        self.bytes += size
        self.files += sign
        delta = self.deltas.get((file.file_type, file.category))
        if delta is None:
            self.deltas[file.file_type, file.category] = Delta(sign, size, at)
        else:
            delta.files += sign
            delta.bytes += size
            delta.at = at
        if file.project_id is not None and file.project_id.int:
            key = file.project_id, Month.of(at, self.zone)
            self.projects[key] = self.projects.get(key, NOTHING).plus(size, sign)
