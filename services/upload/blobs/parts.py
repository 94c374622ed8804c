"""Objects made of parts: what the three kinds of object store have in common, and what each does its own way."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self
from uuid import UUID

from services.upload.blobs.spool import Spool
from services.upload.blobs.store import StoreUnavailable
from services.upload.blobs.wire import Body

MIB = 1024 * 1024
PARTS = 10_000  # what S3 takes in one object
FIRST_PART = 8 * MIB
LARGEST_PART = 4096 * MIB
GROWS_AFTER = 900  # parts of one size
REMOVED = 16  # deletions under way at a time, where each is a request
LISTED = 1000  # entries of a listing in one answer
STAGING = "staging/"
READY = f"{STAGING}ready"  # empty, and written anew to see whether the store takes it


def part_size(number: int) -> int:
    """Bytes of the part with that number, from 1: small ones first, and yet 10,000 of them hold more than 5 TiB."""
    return min(FIRST_PART << min((number - 1) // GROWS_AFTER, 9), LARGEST_PART)


def least_part(number: int) -> int:
    """Bytes from which a part may be ended early, because everything so far has to be safe; S3 wants 5 MiB."""
    return part_size(number) * 5 // 8


def staged(upload: UUID) -> str:
    """Where an object lies whose path is not known yet."""
    return f"{STAGING}{upload}"


def tail(upload: UUID, parts: int) -> str:
    """What came after that many parts and is too short for one of its own."""
    return f"{STAGING}{upload}.tail.{parts}"


@dataclass(frozen=True, slots=True)
class Part:
    """`tag` is what the store calls it."""

    tag: str
    size: int


@dataclass(frozen=True, slots=True)
class Parted:
    """An object in parts: `handle` is the store's name for the whole, `key` where it will lie."""

    key: str
    handle: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What is safe of an upload: its parts, and after them `tail` bytes in an object of their own.

    `older`: that many parts came before a tail that nobody needs once this is written down.
    """

    parted: Parted | None = None
    parts: tuple[Part, ...] = ()
    tail: int = 0
    older: int | None = None

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts) + self.tail

    def dump(self) -> dict[str, Any]:
        return {
            "parted": None if self.parted is None else asdict(self.parted),
            "parts": [[part.tag, part.size] for part in self.parts],
            "tail": self.tail,
            "older": self.older,
        }

    @classmethod
    def load(cls, state: Mapping[str, Any], offset: int) -> Self:
        """Raises StoreUnavailable for a state that does not reach as far as `offset` says."""
        parted = state.get("parted")
        parts = tuple(Part(tag, size) for tag, size in state.get("parts", ()))
        found = cls(None if parted is None else Parted(**parted), parts, state.get("tail", 0), state.get("older"))
        if found.size != offset:
            raise StoreUnavailable
        return found


class PartStore(Protocol):
    """What the writer needs of an object store. Everything raises StoreUnavailable, StoreFull; all may be repeated."""

    spool: Spool

    async def put(self, path: str, body: Body, upload: UUID) -> None:
        """A blob in one piece, never over another upload's. Raises Occupied."""
        ...

    async def put_tail(self, key: str, body: Body) -> None: ...

    async def begin(self, upload: UUID, path: str | None) -> Parted: ...

    async def put_part(self, upload: UUID, parted: Parted, number: int, body: Body) -> str:
        """Returns its tag."""
        ...

    async def join(self, upload: UUID, parted: Parted, parts: Sequence[Part], path: str) -> None:
        """The parts become the blob at `path`, all at once and never over another upload's. Raises Occupied."""
        ...

    async def discard(self, upload: UUID, path: str | None, parted: Parted | None) -> None:
        """Removes every part, tail and staged object of the upload, but no blob that has its place.

        `path` as `begin` was told; `parted` as far as it is known, and has not been joined.
        """
        ...

    def read(self, path: str, start: int, length: int) -> AsyncIterator[bytes]: ...

    async def delete(self, path: str) -> None: ...
