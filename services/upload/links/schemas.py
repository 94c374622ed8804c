"""Links as the API shows them."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from services.upload.files.content import Disposition
from services.upload.links.models import FileLink
from services.upload.links.service import LONGEST, Wanted


class SignedOut(BaseModel):
    """`id` is what it can be revoked by."""

    id: UUID
    url: str
    expires_at: datetime


class LinkIn(BaseModel):
    """`expires_in` in seconds, at most 7 days. `max_uses`: downloads begun; each pays for one to be continued."""

    expires_in: Annotated[int, Field(ge=1, le=LONGEST)] = 3600
    password: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    max_uses: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    disposition: Disposition = "attachment"

    def wanted(self) -> Wanted:
        return Wanted(self.expires_in, self.password, self.max_uses, self.disposition)


class LinkOut(BaseModel):
    """`url` is null for a link of `/url`, which is listed once it was used or revoked. `bytes_sent` by it in all."""

    id: UUID
    file_id: UUID | None
    url: str | None
    state: Literal["active", "expired", "revoked", "exhausted"]
    disposition: str
    has_password: bool
    max_uses: int | None
    uses: int
    bytes_sent: int
    created_by: UUID | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    @classmethod
    def of(cls, link: FileLink, url: str | None, now: datetime) -> Self:
        told = link.model_dump(include=set(cls.model_fields))
        return cls(**told, url=url, state=_state(link, now), has_password=link.password_hash is not None)


def _state(link: FileLink, now: datetime) -> Literal["active", "expired", "revoked", "exhausted"]:
    if link.revoked_at is not None:
        return "revoked"
    if link.expires_at <= now:
        return "expired"
    return "exhausted" if link.max_uses is not None and link.uses >= link.max_uses else "active"
