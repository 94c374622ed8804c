r"""The ledger's chain. Pure, and simple enough for a tenant to recompute from a download.

hash = sha256(previous hash ‖ "seq\nid\ntype\ntime\nbody"), the first previous hash being 32 zero bytes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar
from uuid import UUID

from shared.events import FileBefore, FileDeleted, FileEvent, FileMoved, FileReplaced, FileStored, StorageAdjusted
from shared.ids import new_id

GENESIS = bytes(32)

Action = Literal["upload", "delete", "replace", "move", "trash", "restore", "adjust"]
Said = TypeVar("Said", bound=FileEvent | StorageAdjusted)


@dataclass(frozen=True, slots=True)
class Head:
    """The last seq of a tenant's ledger, the hash over everything up to it, and the time of that entry."""

    seq: int = 0
    hash: bytes = GENESIS
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry(Generic[Said]):
    """One entry as it is written: the event's exact JSON, and the columns people filter by. `delta` in bytes.

    Time never goes back along a ledger: what was stored at any moment is the sum up to one entry.
    """

    seq: int
    id: UUID
    action: Action
    event: Said
    delta: int
    by: UUID | None
    metadata: dict[str, Any]
    at: datetime
    body: str
    traceparent: str | None
    prev_hash: bytes
    hash: bytes

    @classmethod
    def following(
        cls,
        head: Head,
        action: Action,
        event: Said,
        delta: int,
        at: datetime,
        metadata: dict[str, Any],
        traceparent: str | None,
        by: UUID | None = None,
    ) -> Self:
        entry_id, body, seq = new_id(), event.body(), head.seq + 1
        at = at if head.at is None else max(at, head.at)  # the clocks of two processes differ
        linked = link(head.hash, seq, entry_id, event.type, at, body)
        if isinstance(event, FileEvent):
            by = by or event.uploaded_by
        return cls(seq, entry_id, action, event, delta, by, metadata, at, body, traceparent, head.hash, linked)

    @property
    def head(self) -> Head:
        return Head(self.seq, self.hash, self.at)

    @property
    def previous(self) -> FileBefore | None:
        """What a replacement or move took away from."""
        return self.event.previous if isinstance(self.event, FileReplaced | FileMoved) else None

    @property
    def parts(self) -> tuple[Any, ...]:
        """What the sums are made of besides size and kind: what was there before, by how many files an adjustment
        changes them, whose the file is, whether it is a version or was in the trash, and the month it took an image of.
        """
        event, before = self.event, self.previous
        was = (None, None, None) if before is None else (before.size, before.file_type, before.category)
        owners = (None, None) if before is None else (before.uploaded_by, before.project_id)
        if isinstance(event, StorageAdjusted):
            return (*was, event.delta_files, None, event.project_id, *owners, False, False, None)
        trashed = isinstance(event, FileDeleted) and event.trashed
        month = event.image_month if isinstance(event, FileStored | FileReplaced) else None
        version = event.version_of is not None
        return (*was, None, event.uploaded_by, event.project_id, *owners, version, trashed, month)

    @property
    def file(self) -> tuple[UUID | None, str, str, int, str]:
        """Id, path, name, size and type of content; an adjustment is of none."""
        event = self.event
        if isinstance(event, FileEvent):
            return event.file_id, event.path, event.name, event.size, event.content_type
        return None, "", "", 0, ""

    @staticmethod
    def columns(entries: Sequence["Entry[Any]"]) -> list[list[Any]]:
        """Column by column, in the order of the INSERT."""
        return [list(column) for column in zip(*(entry.row() for entry in entries), strict=True)]

    def row(self) -> tuple[Any, ...]:
        event, (file_id, path, name, size, content_type) = self.event, self.file
        said = (self.seq, self.id, self.action, event.type, file_id, path, name, size, self.delta, content_type)
        kind = (event.file_type, event.category, self.by, self.metadata, self.at, self.body, self.traceparent)
        return (*said, *kind, self.prev_hash, self.hash, *self.parts)


def link(previous: bytes, seq: int, entry_id: UUID, kind: str, at: datetime, body: str) -> bytes:
    text = f"{seq}\n{entry_id}\n{kind}\n{at.isoformat()}\n{body}"
    return hashlib.sha256(previous + text.encode()).digest()
