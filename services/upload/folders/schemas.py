"""Folders as the API shows them."""

from typing import Annotated, Self

from pydantic import BaseModel, Field

from services.upload.folders.repository import Folder
from services.upload.folders.service import Done


class FolderOut(BaseModel):
    """`path` from the top. `files` and `bytes` of all in it and below it; null where that is more than 100 files
    and no `sums` were asked for.
    """

    path: str
    name: str
    files: int | None
    bytes: int | None

    @classmethod
    def of(cls, parent: str, folder: Folder) -> Self:
        path = f"{parent}/{folder.name}" if parent else folder.name
        return cls(path=path, name=folder.name, files=folder.files, bytes=folder.bytes)


class FolderMoveIn(BaseModel):
    path: Annotated[str, Field(max_length=1024)]
    to: Annotated[str, Field(max_length=1024)]


class DoneOut(BaseModel):
    """Not `complete`: there are more, ask again."""

    files: int
    complete: bool

    @classmethod
    def of(cls, done: Done) -> Self:
        return cls(files=done.files, complete=done.complete)
