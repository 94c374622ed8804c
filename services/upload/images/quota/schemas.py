"""The image quota as the API shows it (S2.4, S2.5)."""

from typing import Self

from pydantic import BaseModel

from services.upload.images.quota.rules import Allowance, Code


class ImageQuotaInfo(BaseModel):
    """Images of this month, those under way included. `quota_limit` and `quota_remaining` are null when unlimited."""

    plan_name: str
    quota_limit: int | None
    quota_used: int
    quota_remaining: int | None

    @classmethod
    def of(cls, allowance: Allowance) -> Self:
        return cls(
            plan_name=allowance.plan,
            quota_limit=allowance.limit,
            quota_used=allowance.used,
            quota_remaining=allowance.remaining,
        )


class ImageQuotaOut(BaseModel):
    """`quota_info` is null when nothing is known: then nothing can be uploaded either."""

    can_upload: bool
    quota_info: ImageQuotaInfo | None
    message_code: Code

    @classmethod
    def of(cls, allowance: Allowance) -> Self:
        return cls(can_upload=allowance.allowed, quota_info=ImageQuotaInfo.of(allowance), message_code=allowance.code)
