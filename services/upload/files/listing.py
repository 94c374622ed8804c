"""What a list of files may be asked for, and where in it a page begins. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.upload.files.models import StoredFile
from shared.errors import DomainError

Sort = Literal["created_at", "name", "size", "folder"]
Text = Annotated[str, Field(max_length=1024)]

# By its name in the API: the columns a list is sorted by, their types, and whether it begins with the largest.
KEYS: Mapping[str, tuple[Sequence[str], Sequence[type], bool]] = {
    "created_at": (("created_at",), (datetime,), True),
    "name": (("sort_name",), (str,), False),
    "size": (("size",), (int,), True),
    "folder": (("folder", "sort_name"), (str, str), False),
    "trashed_at": (("trashed_at",), (datetime,), True),
}
_SORTS = [[sort] for sort in KEYS if sort != "trashed_at"]


class Filters(BaseModel):
    """`name` is contained in the file's, whatever the case. `folder` is exactly that one, `prefix` all below it too.

    Times are of the upload. `trash` lists what is in the trash instead, latest first.
    """

    model_config = ConfigDict(extra="ignore")

    category: Text | None = None
    subcategory: Text | None = None
    type: Literal["image", "video", "audio", "document", "other"] | None = None
    entity_id: Text | None = None
    project_id: UUID | None = None
    folder: Text | None = None
    prefix: Text | None = None
    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    uploaded_after: datetime | None = None
    uploaded_before: datetime | None = None
    state: Literal["ready", "scanning", "blocked"] = "ready"
    trash: bool = False
    sort: Sort | None = None
    order: Literal["asc", "desc"] | None = None

    @property
    def natural(self) -> str:
        """What the list is sorted by when nobody says."""
        if self.trash:
            return "trashed_at"
        if self.prefix is not None:
            return "folder"
        return "created_at" if self.folder is None else "name"


@dataclass(frozen=True, slots=True)
class Position:
    """A sort, its direction, and the key of the last file seen, None at the start."""

    sort: str
    descending: bool
    after: tuple[Any, ...] | None = None

    @classmethod
    def of(cls, filters: Filters, cursor: list[Any] | None) -> Self:
        """A cursor carries its sort; one that was made for another is refused. Raises DomainError."""
        if filters.trash and filters.sort is not None:
            raise DomainError("invalid_sort", 422, "The trash is listed by the time of deletion.")
        sort, order = filters.sort or filters.natural, filters.order
        if cursor is not None and filters.sort is None and not filters.trash and cursor[:1] in _SORTS:
            sort, order = cursor[0], order or ("desc" if cursor[1:2] == [True] else "asc")
        descending = KEYS[sort][2] if order is None else order == "desc"
        return cls(sort, descending, None if cursor is None else _key(sort, descending, cursor))

    def past(self, row: Mapping[str, Any]) -> list[Any]:
        """The cursor behind that row."""
        return [self.sort, self.descending, *(row[column] for column in KEYS[self.sort][0]), row["id"]]


def _key(sort: str, descending: bool, cursor: list[Any]) -> tuple[Any, ...]:
    types = KEYS[sort][1]
    try:
        said, direction, *values, last = cursor
        if (said, direction) != (sort, descending) or len(values) != len(types):
            raise ValueError(cursor)
        return *(_read(kind, value) for kind, value in zip(types, values, strict=True)), UUID(last)
    except (ValueError, TypeError, AttributeError):
        raise DomainError("invalid_cursor", 422, "The cursor is not one of ours, or of another list.") from None


def _read(kind: type, value: Any) -> Any:
    if kind is datetime:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise ValueError(value)
        return at
    if type(value) is not kind or (isinstance(value, str) and "\x00" in value):
        raise TypeError(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError(value)
    return value


@dataclass(frozen=True, slots=True)
class Listed:
    """One page. `after` is the next one's cursor, None at the end; a page may be short of its limit before that."""

    files: list[StoredFile]
    after: list[Any] | None
