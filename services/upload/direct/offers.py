"""What a store can give a client, so that the client's bytes go straight to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from services.upload.direct.models import DirectUpload
from services.upload.direct.rules import Part

STAGING = "direct/"

Kind = Literal["form", "put", "session", "parts"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An upload of `size` bytes, None if nobody knows, that will be the file at `path`; `rewritten`: with other bytes
    than come. `origin`: of the page that sends it.
    """

    upload: UUID
    tenant: UUID
    path: str
    size: int | None
    content_type: str
    until: datetime
    in_parts: bool = False
    rewritten: bool = False
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """How the bytes are to be sent. They arrive at `staged`.

    form: as the field `file` of a form to `url`, after all `fields`. put: to `url` with `headers`. session: the same,
    or in pieces as Google's resumable uploads go. parts: of `part_size` bytes, the last one smaller, to URLs that are
    asked for.
    """

    kind: Kind
    method: Literal["POST", "PUT"]
    staged: str
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    part_size: int | None = None
    backend: Mapping[str, Any] = field(default_factory=dict)


class Offers(Protocol):
    """Every method raises StoreUnavailable when the store cannot be reached until its deadline."""

    async def begin(self, wanted: Wanted) -> Offer: ...

    def part_url(self, upload: DirectUpload, number: int, until: datetime) -> str: ...

    async def arrived(self, upload: DirectUpload) -> list[Part] | None:
        """By number. None when there is nothing to put together: it comes whole, or was put together already."""
        ...

    async def assemble(self, upload: DirectUpload, parts: Sequence[Part]) -> None:
        """Makes the staged object of these parts and no others. Raises PartsChanged, PartTooSmall."""
        ...

    async def abort(self, upload: DirectUpload) -> None:
        """Parts and sessions go. Nothing happens when they are gone already. A staged object stays."""
        ...

    async def close(self) -> None: ...


def staging(upload: UUID) -> str:
    """A place of its own, where no file ever is: a URL for it is good for nothing else."""
    return f"{STAGING}{upload}"
