"""What a plan says. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from shared.events import Entitlements
from shared.money import Money

Interval = Literal["month", "year"]
INTERVALS: tuple[Interval, ...] = ("month", "year")


class Price(BaseModel):
    """`amount` is decimal text, "3.00"; `money` has it in minor units."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]  # before the amount, whose decimals it decides
    interval: Interval
    amount: Annotated[str, Field(strict=True)]

    @property
    def money(self) -> Money:
        return Money.parse(self.amount, self.currency)

    @property
    def yearly(self) -> int:
        """Minor units, to compare by."""
        return self.money.amount * (12 if self.interval == "month" else 1)

    @property
    def said(self) -> dict[str, str]:
        """The same for "3.0" and "3.00"."""
        return {"amount": self.money.text, "currency": self.currency, "interval": self.interval}

    @field_validator("amount")
    @classmethod
    def _is_money(cls, amount: str, info: ValidationInfo) -> str:
        currency = info.data.get("currency")
        if currency is not None and Money.parse(amount, currency).amount <= 0:
            raise ValueError("a price is more than nothing; a plan without prices is free")
        return amount


Count = Annotated[int, Field(ge=0, le=2**62, strict=True)]
MediaType = Annotated[str, Field(pattern=r"^[a-z]+/(\*|[a-z0-9][a-z0-9.+-]*)$")]


class Rights(Entitlements):
    """Entitlements as a plan may grant them: nothing below nothing, and media types that a file can have.

    An empty list of types would sell storage that takes nothing in.
    """

    model_config = ConfigDict(extra="forbid")

    storage_bytes: Count | None
    traffic_bytes_month: Count | None
    images_month: Count | None
    teams: Count | None
    members: Count | None
    projects: Count | None
    cpu: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] | None
    memory_bytes: Count | None
    custom_domains: Annotated[bool, Field(strict=True)]
    max_file_bytes: Count | None
    allowed_types: Annotated[tuple[MediaType, ...], Field(min_length=1)] | None = None
    trash_days: Annotated[int, Field(ge=0, le=3650, strict=True)] = 0


class Plan(BaseModel):
    """What a team gets, and for how much; without prices it is free. A subscription keeps the version it bought.

    One that is not `public` is given by staff: nobody can buy it, and only teams that have it see it listed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")
    version: Annotated[int, Field(ge=1, lt=2**31, strict=True)]
    name: str = Field(min_length=1, max_length=64)
    default: Annotated[bool, Field(strict=True)] = False
    public: Annotated[bool, Field(strict=True)] = True
    prices: tuple[Price, ...] = ()  # in each currency at most one a month and one a year
    trial_days: Annotated[int, Field(ge=0, le=365, strict=True)] = 0  # it may be tried so long before it is paid for
    entitlements: Rights

    @field_validator("prices")
    @classmethod
    def _are_different(cls, prices: tuple[Price, ...]) -> tuple[Price, ...]:
        seen: set[tuple[str, str]] = set()
        for price in prices:
            if (price.currency, price.interval) in seen:
                raise ValueError(f"there are two prices in {price.currency} a {price.interval}")
            seen.add((price.currency, price.interval))
        return prices

    @field_validator("trial_days")
    @classmethod
    def _is_of_something_sold(cls, days: int, info: ValidationInfo) -> int:
        if days and not info.data.get("prices", True):
            raise ValueError("a plan without prices is free, and needs no trial")
        return days

    @property
    def key(self) -> tuple[str, int]:
        return self.code, self.version

    def price_in(self, currency: str, interval: Interval | None = None) -> Price | None:
        """Without an interval: by the month, or by the year where it is sold by that alone."""
        wanted = INTERVALS if interval is None else (interval,)
        found = {price.interval: price for price in self.prices if price.currency == currency}
        return next((found[one] for one in wanted if one in found), None)

    @classmethod
    def stored(cls, definition: Mapping[str, Any]) -> Self:
        """Out of the database, also from when a plan had one price."""
        values = dict(definition)
        price = values.pop("price", None)
        if price is not None:
            values["prices"] = [price]
        return cls.model_validate(values)

    @property
    def digest(self) -> str:
        """Of everything it sells: the same version must always say the same, also to a newer Stowage."""
        said = self.model_dump(mode="json", exclude={"public", "prices", "trial_days"})  # `public` may be withdrawn
        said |= {"trial_days": self.trial_days} if self.trial_days else {}  # plans were sold before there were trials
        prices = sorted((price.said for price in self.prices), key=lambda one: (one["currency"], one["interval"]))
        # As it was written when a plan had one price; those that were sold then are in databases.
        said |= {"prices": prices} if len(prices) > 1 else {"price": prices[0] if prices else None}
        # An entitlement that was not sold yet when the plan was written must not make it another plan.
        said["entitlements"] = self.entitlements.model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
