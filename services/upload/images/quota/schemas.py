"""The image quota as the API shows it (S2.4, S2.5)."""

from typing import Self

from pydantic import BaseModel, Field

from services.upload.images.purchases.provider import Offer
from services.upload.images.quota.rules import Allowance, Code


class ImageQuotaInfo(BaseModel):
    """Images of this month, those under way included. `quota_limit` and `quota_remaining` are null when unlimited.
    `bought`, where there are any: so many of those used are above the limit, for credits.
    """

    plan_name: str
    quota_limit: int | None
    quota_used: int
    quota_remaining: int | None
    bought: int = Field(default=0, exclude_if=lambda bought: bought == 0)

    @classmethod
    def of(cls, allowance: Allowance) -> Self:
        return cls(
            plan_name=allowance.plan,
            quota_limit=allowance.limit,
            quota_used=allowance.used,
            quota_remaining=allowance.remaining,
            bought=allowance.bought,
        )


class CreditOfferOut(BaseModel):
    """In credits: what one image above the quota costs (`use_credits`), and what the team has."""

    price: int
    balance: int


class ImageQuotaOut(BaseModel):
    """`quota_info` is null when nothing is known: then nothing can be uploaded either. `credits`, where there is a
    limit to go beyond and billing says what that costs.
    """

    can_upload: bool
    quota_info: ImageQuotaInfo | None
    message_code: Code
    credits: CreditOfferOut | None = Field(default=None, exclude_if=lambda offer: offer is None)

    @classmethod
    def of(cls, allowance: Allowance, offer: Offer | None) -> Self:
        return cls(
            can_upload=allowance.allowed,
            quota_info=ImageQuotaInfo.of(allowance),
            message_code=allowance.code,
            credits=None if offer is None else CreditOfferOut(price=offer.price, balance=offer.balance),
        )
