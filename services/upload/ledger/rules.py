r"""The ledger's chain. Pure, and simple enough for a tenant to recompute from a download.

hash = sha256(previous hash ‖ "seq\nid\ntype\ntime\nbody"), the first previous hash being 32 zero bytes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from shared.events import FileEvent, FileMoved, FileReplaced
from shared.ids import new_id

GENESIS = bytes(32)

Action = Literal["upload", "delete", "replace", "move", "trash", "restore"]


@dataclass(frozen=True, slots=True)
class Head:
    """The last seq of a tenant's ledger and the hash over everything up to it."""

    seq: int = 0
    hash: bytes = GENESIS


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it is written: the event's exact JSON, and the columns people filter by. `delta` in bytes."""

    seq: int
    id: UUID
    action: Action
    event: FileEvent
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
        event: FileEvent,
        delta: int,
        at: datetime,
        metadata: dict[str, Any],
        traceparent: str | None,
        by: UUID | None = None,
    ) -> Self:
        entry_id, body, seq = new_id(), event.body(), head.seq + 1
        linked = link(head.hash, seq, entry_id, event.type, at, body)
        by = by or event.uploaded_by
        return cls(seq, entry_id, action, event, delta, by, metadata, at, body, traceparent, head.hash, linked)

    @property
    def head(self) -> Head:
        return Head(self.seq, self.hash)

    @property
    def file_id(self) -> UUID:
        return self.event.file_id

    @property
    def previous(self) -> tuple[int | None, str | None, str | None]:
        """Size, file type and category that a replacement or move took away from."""
        if isinstance(self.event, FileReplaced | FileMoved):
            before = self.event.previous
            return before.size, before.file_type, before.category
        return None, None, None

    @staticmethod
    def columns(entries: Sequence["Entry"]) -> list[list[Any]]:
        """Column by column, in the order of the INSERT."""
        rows = [
            (
                e.seq,
                e.id,
                e.action,
                e.event.type,
                e.event.file_id,
                e.event.path,
                e.event.name,
                e.event.size,
                e.delta,
                e.event.content_type,
                e.event.file_type,
                e.event.category,
                e.by,
                e.metadata,
                e.at,
                e.body,
                e.traceparent,
                e.prev_hash,
                e.hash,
                *e.previous,
            )
            for e in entries
        ]
        return [list(column) for column in zip(*rows, strict=True)]


def link(previous: bytes, seq: int, entry_id: UUID, kind: str, at: datetime, body: str) -> bytes:
    text = f"{seq}\n{entry_id}\n{kind}\n{at.isoformat()}\n{body}"
    return hashlib.sha256(previous + text.encode()).digest()
