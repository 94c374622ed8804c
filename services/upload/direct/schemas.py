"""Direct uploads as the API shows them."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from services.upload.direct import rules
from services.upload.direct.completion import Said
from services.upload.direct.models import DirectUpload
from services.upload.direct.offers import Kind, Offer
from services.upload.direct.rules import Listed, Part
from services.upload.direct.service import Announced
from services.upload.errors import InvalidUpload
from services.upload.files.rules import Tree
from services.upload.intake.placement import Placement

TYPE_BYTES = 255


class DirectUploadIn(BaseModel):
    """`file_size` in bytes is what is reserved and the most that is taken. `sha256` in hex is compared at the end.
    `multipart`: in parts although it is small. `expires_in`: seconds the offer is good, from its last sign of life.
    `strip_location`: what is kept of a photo does not say where it was taken; `sha256` is that of what is sent.
    """

    file_name: str
    file_size: int = Field(ge=0, lt=2**62)
    content_type: str | None = None
    category: str
    subcategory: str | None = None
    entity_id: str | None = None
    folder: str | None = None
    project_id: UUID | None = None
    metadata: dict[str, Any] | None = None
    sha256: str | None = None
    strip_location: bool = False
    multipart: bool = False
    expires_in: int | None = Field(default=None, ge=5, le=604_800)

    def announced(self, tree: Tree, origin: str | None) -> Announced:
        """Raises InvalidUpload."""
        said = self.model_dump(mode="json", exclude={"file_name", "file_size", "sha256", "multipart", "expires_in"})
        return Announced(
            placement=read_placement(tree, self.file_name, said, self.content_type),
            size=self.file_size,
            sha256=rules.check_sha256(self.sha256),
            in_parts=self.multipart,
            lifetime=self.expires_in,
            origin=origin,
        )


class DirectPartUrlOut(BaseModel):
    number: int
    url: str


class DirectUploadOut(BaseModel):
    """Send the bytes by `method` to `url`. kind `put`: as the body, with `headers`. `form`: as the field `file` of a
    form, after all `fields`. `session`: like `put`, or in pieces as Google's resumable uploads go. `parts`: parts of
    `part_size` bytes, the last one smaller, each to its URL of `parts` (the first 100; further ones are asked for).
    """

    upload_id: UUID
    state: str
    kind: Kind
    method: Literal["POST", "PUT"]
    url: str | None
    headers: dict[str, str]
    fields: dict[str, str]
    part_size: int | None
    parts: list[DirectPartUrlOut] | None
    expires_at: datetime

    @classmethod
    def of(cls, upload: DirectUpload, offer: Offer, parts: list[DirectPartUrlOut] | None) -> Self:
        return cls(
            upload_id=upload.id,
            state=upload.state,
            kind=offer.kind,
            method=offer.method,
            url=offer.url,
            headers=dict(offer.headers),
            fields=dict(offer.fields),
            part_size=offer.part_size,
            parts=parts,
            expires_at=upload.expires_at,
        )


class DirectUploadState(BaseModel):
    """`state`: open, completing, stored (as the file of the same id), refused, aborted or expired. `problem` says why
    it was refused. `file_size` in bytes as announced.
    """

    upload_id: UUID
    state: str
    file_name: str
    file_size: int | None
    part_size: int | None
    file_id: UUID | None
    problem: dict[str, Any] | None
    expires_at: datetime

    @classmethod
    def of(cls, upload: DirectUpload) -> Self:
        return cls(
            upload_id=upload.id,
            state=upload.state,
            file_name=upload.placement.name,
            file_size=upload.size,
            part_size=upload.part_size,
            file_id=upload.id if upload.state == "stored" else None,
            problem=upload.problem,
            expires_at=upload.expires_at,
        )


class DirectPartNumbersIn(BaseModel):
    numbers: list[int]


class DirectPartUrlsOut(BaseModel):
    items: list[DirectPartUrlOut]
    expires_at: datetime


class DirectPartOut(BaseModel):
    """`size` in bytes."""

    number: int
    size: int
    etag: str

    @classmethod
    def of(cls, part: Part) -> Self:
        return cls(number=part.number, size=part.size, etag=part.etag)


class DirectPartsOut(BaseModel):
    items: list[DirectPartOut]


class DirectPartIn(BaseModel):
    """Without an `etag` whatever has arrived under that number is taken."""

    number: int = Field(ge=1, le=rules.PARTS)
    etag: str = Field(default="", max_length=200)


class DirectCompleteIn(BaseModel):
    """Without `parts`, all that have arrived."""

    parts: list[DirectPartIn] | None = Field(default=None, max_length=rules.PARTS)
    sha256: str | None = None

    def said(self) -> Said:
        """Raises InvalidUpload."""
        return Said(
            listed((part.number, part.etag) for part in self.parts) if self.parts is not None else None,
            rules.check_sha256(self.sha256),
        )


def listed(parts: Any) -> Sequence[Listed]:
    return [Listed(number, etag) for number, etag in parts]


def read_placement(tree: Tree, name: str, said: Mapping[str, Any], declared: str | None) -> Placement:
    """Raises InvalidUpload."""
    if declared is not None and (len(declared) > TYPE_BYTES or not declared.isascii() or not declared.isprintable()):
        raise InvalidUpload("invalid_content_type", f"A media type is ASCII, at most {TYPE_BYTES} characters.")

    def text(key: str) -> str | None:
        value = said.get(key)
        if value is None or value == "":
            return None
        return value if isinstance(value, str) else json.dumps(value)

    return Placement.read(tree, name, text, declared or None)
