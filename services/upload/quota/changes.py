"""What can be asked of a tenant's account, and what becomes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from services.upload.quota.rules import Command, Reason, State
from shared.events import FileEvent, FileStored

FileState = Literal["ready", "scanning"]
Fate = Literal["ready", "blocked", "deleted"]  # of a file that was scanned
Condition = Callable[[Mapping[str, Any]], bool]  # of a file's row, as JSON


@dataclass(slots=True)
class Change:
    """A command and what has to be written with it.

    A settlement brings its `file`. With `replaces` it takes that file's place and id; with `exclusive` it takes the
    place of whatever file has its category, folder and name by then; with `vacant`, too, none may have it. What the
    reservations `takes` hold is its own. An alteration brings either the file's new `values`, or `trash`: the moment it
    is to be purged, None to restore it; or `place`, when its bytes have been copied to another location and path; or
    `fate`, when the scanner has spoken.

    `condition`: what must be true of the file it is about at the moment of the change, whatever was read before.
    `given`: files, and columns as JSON that they must still have; otherwise nothing is done and `missing` is said.
    """

    command: Command
    lifetime: timedelta = timedelta(hours=1)  # of a reservation
    file: FileStored | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    location: str = "default"
    state: FileState = "ready"
    tasks: tuple[str, ...] = ()  # what is to be done with the file afterwards
    idempotency_key: str | None = None
    replaces: UUID | None = None
    exclusive: bool = False
    takes: tuple[UUID, ...] = ()
    vacant: bool = False
    values: Mapping[str, Any] | None = None
    trash: datetime | None = None
    place: tuple[str, str] | None = None  # location, path
    fate: Fate | None = None
    given: Mapping[UUID, Mapping[str, Any]] = field(default_factory=dict)
    condition: Condition | None = None
    by: UUID | None = None  # who deletes or alters
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """`refused`: what there was not enough of, and `state` says why. `existing`: another upload with the same key was
    first. `missing`: there is no such file. `unmet`: the condition is. `event`: what was written to the ledger, as
    number `seq`.
    """

    state: State
    refused: Reason | None = None
    existing: UUID | None = None
    missing: bool = False
    unmet: bool = False
    event: FileEvent | None = None
    seq: int | None = None

    @property
    def ok(self) -> bool:
        return self.refused is None and not self.missing and not self.unmet
