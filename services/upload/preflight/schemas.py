"""The question and the answer of a check before an upload."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from services.upload.preflight.plans import PlanFound
from services.upload.preflight.rules import Asked, Reason
from services.upload.quota.schemas import QuotaOut

FILES = 1000
LARGEST = 2**60

MediaType = Annotated[str, StringConstraints(max_length=255, strip_whitespace=True, to_lower=True)]


class FileIn(BaseModel):
    """`size` in bytes. What is left out is not judged."""

    size: int = Field(ge=0, le=LARGEST)
    content_type: MediaType | None = None
    category: str | None = Field(default=None, max_length=255)

    def asked(self) -> Asked:
        kind = None if self.content_type is None else self.content_type.partition(";")[0].strip()
        return Asked(self.size, kind, self.category)


class CheckIn(BaseModel):
    """`resumable`: they would come in pieces or straight to the store, where files may be larger."""

    files: list[FileIn] = Field(min_length=1, max_length=FILES)
    resumable: bool = False


class FileVerdict(BaseModel):
    fits: bool
    reasons: list[Reason]


class CheckOut(BaseModel):
    """`files` in the order of the question, each judged as if those before it that fit were stored. `missing`: bytes
    by which all of them together exceed the quota. `plan`: the cheapest that would hold them all; null when they fit,
    when there is none, and when billing does not answer.
    """

    fits: bool
    files: list[FileVerdict]
    missing: int
    quota: QuotaOut
    plan: PlanFound | None
    upgrade_url: str
