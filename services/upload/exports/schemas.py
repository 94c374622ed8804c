"""Exports as the API shows them."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, Field


class ExportIn(BaseModel):
    """`categories` null: all of them."""

    categories: list[str] | None = Field(default=None, min_length=1, max_length=100)
    include_versions: bool = True
    include_trash: bool = True


class ProblemOut(BaseModel):
    """A file that could not be put into the archive whole: missing, damaged, scanning or blocked."""

    file_id: UUID
    name: str
    problem: str


class ExportOut(BaseModel):
    """`status`: pending, running, verifying; ready or incomplete, both read back and compared, the latter without the
    files of `problems`; failed; expired. `size` of the archive in bytes.
    """

    export_id: UUID
    status: str
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    size: int | None
    created_at: datetime
    ended_at: datetime | None
    expires_at: datetime | None
    error: str | None
    url: str | None
    problems: list[ProblemOut]

    @classmethod
    def of(cls, row: Any, problems: list[Any] | None = None) -> Self:
        ready = row["status"] in ("ready", "incomplete")
        return cls(
            export_id=row["id"],
            status=row["status"],
            files_done=row["files_done"],
            files_total=row["files_total"],
            bytes_done=row["bytes_done"],
            bytes_total=row["bytes_total"],
            size=row["size"] if ready else None,
            created_at=row["created_at"],
            ended_at=row["ended_at"],
            expires_at=row["expires_at"],
            error=None if ready else row["error"],
            url=f"/api/user/exports/{row['id']}/content" if ready else None,
            problems=[ProblemOut(**dict(problem)) for problem in problems or []],
        )
