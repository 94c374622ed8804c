"""Clean-ups as the API shows them."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, Field

from services.upload.cleanup.rules import ORDER
from services.upload.cleanup.service import Wanted


class CleanupIn(BaseModel):
    """What to clean up; or, with `plan_id`, the plan a dry run has shown.

    `temporary`: files of a category or subcategory called temporary, or with `{"temporary": true}` in their metadata.
    `duplicates`: files with the same content, but for the oldest; `near_duplicates`: images that look the same, but for
    the largest. `trash`: what is in it. `abandoned`: uploads nobody goes on with. `thumbnails`: those nobody looked at.
    `older_than_days` holds for temporary files, the trash and thumbnails.
    """

    temporary: bool = False
    duplicates: bool = False
    near_duplicates: bool = False
    trash: bool = False
    abandoned: bool = False
    thumbnails: bool = False
    older_than_days: int = Field(default=0, ge=0, le=36_500)
    dry_run: bool = False
    plan_id: UUID | None = None

    @property
    def wanted(self) -> Wanted:
        return Wanted(frozenset(kind for kind in ORDER if getattr(self, kind)), self.older_than_days)


class KindOut(BaseModel):
    """`changed`: items that were left alone because they, or the copy to be kept, had changed since the plan."""

    kind: str
    items: int
    bytes: int
    freed: int
    freed_bytes: int
    changed: int


class ItemOut(BaseModel):
    """`id` of the file or upload; `keeps`: the copy that stays. `outcome`: freed, changed, or null before the run."""

    kind: str
    id: UUID
    name: str
    bytes: int
    keeps: UUID | None
    outcome: str | None


class CleanupSummary(BaseModel):
    """`complete` false: there is more of it than one plan holds; make another when this one has run."""

    plan_id: UUID
    kinds: list[KindOut]
    bytes: int
    freed_bytes: int
    complete: bool
    planned_at: datetime
    ended_at: datetime | None

    @classmethod
    def fields_of(cls, row: Any) -> dict[str, Any]:
        kinds = [KindOut(**kind) for kind in row["kinds"]]
        return {
            "plan_id": row["id"],
            "kinds": kinds,
            "bytes": sum(kind.bytes for kind in kinds),
            "freed_bytes": sum(kind.freed_bytes for kind in kinds),
            "complete": row["complete"],
            "planned_at": row["planned_at"],
            "ended_at": row["ended_at"],
        }

    @classmethod
    def of(cls, row: Any) -> Self:
        return cls(**cls.fields_of(row))


class CleanupOut(CleanupSummary):
    """Its items in pages, the largest of each kind first."""

    items: list[ItemOut]
    next_cursor: str | None

    @classmethod
    def showing(cls, row: Any, items: list[Any], next_cursor: str | None) -> Self:
        shown = [
            ItemOut(
                kind=item["kind"],
                id=item["thing_id"],
                name=item["name"],
                bytes=item["size"],
                keeps=item["keeps"],
                outcome=item["outcome"],
            )
            for item in items
        ]
        return cls(**cls.fields_of(row), items=shown, next_cursor=next_cursor)
