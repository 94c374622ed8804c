"""Deletions as the API shows them."""

from collections.abc import Mapping
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from services.upload.files.schemas import BULK
from services.upload.trash.service import Deleted, Emptied
from shared.errors import DomainError


class DeleteIn(BaseModel):
    ids: Annotated[list[UUID], Field(max_length=BULK)] = []
    paths: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=BULK)] = []
    permanent: bool = False

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not 1 <= len(self.ids) + len(self.paths) <= BULK:
            raise ValueError(f"1 to {BULK} files at a time")
        return self


class DeletedItem(BaseModel):
    """`result` is deleted, trashed, or the code of a refusal. Named as it was asked for."""

    file_id: UUID | None = None
    file_path: str | None = None
    result: str


class DeletedOut(BaseModel):
    items: list[DeletedItem]
    deleted: int
    trashed: int

    @classmethod
    def of(cls, results: Mapping[UUID | str, Deleted | DomainError]) -> Self:
        codes = {key: r.code if isinstance(r, DomainError) else r for key, r in results.items()}
        items = [
            DeletedItem(file_id=key, result=code) if isinstance(key, UUID) else DeletedItem(file_path=key, result=code)
            for key, code in codes.items()
        ]
        said = list(codes.values())
        return cls(items=items, deleted=said.count("deleted"), trashed=said.count("trashed"))


class EmptiedOut(BaseModel):
    """`bytes` are free now; not `complete`: there is more, ask again."""

    files: int
    bytes: int
    complete: bool

    @classmethod
    def of(cls, emptied: Emptied) -> Self:
        return cls(files=emptied.files, bytes=emptied.bytes, complete=emptied.complete)
