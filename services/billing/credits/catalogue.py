"""What credits cost and what they buy: the `credits.yaml` beside the plans, or `catalogue/credits.yaml`; checked."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.billing.catalogue.loader import FOLDER, CatalogueError
from services.billing.catalogue.problems import Problem, at, place
from services.billing.catalogue.reader import doubles, parse
from shared.money import Money

FILE = FOLDER / "credits.yaml"

Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Credits = Annotated[int, Field(ge=1, le=1_000_000_000)]
Priority = Annotated[int, Field(ge=0, le=1000)]  # lower ones burn first
Days = Annotated[int, Field(ge=1, le=3660)]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _are_prices(prices: dict[str, str]) -> dict[str, str]:
    for currency, amount in prices.items():
        if Money.parse(amount, currency).amount <= 0:
            raise ValueError(f"{currency}: a pack costs more than nothing")
    return prices


class Pack(_Part):
    """Credits that are bought. `prices`: decimal text by currency. A payment keeps the version it bought."""

    code: Code
    version: int = Field(ge=1)
    name: Name
    credits: Credits
    expires_days: Days | None
    priority: Priority = 50
    prices: Annotated[dict[str, str], Field(min_length=1), AfterValidator(_are_prices)]

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


class Use(_Part):
    """`cost` credits for one `unit`."""

    name: Name
    unit: Name
    cost: Credits


class Reward(_Part):
    seconds: int = Field(ge=1, le=600)  # or more
    credits: Credits


class Ads(_Part):
    """`rewards`: by how long a view lasted; shorter than all of them is worth nothing."""

    rewards: Annotated[list[Reward], Field(min_length=1)]
    daily_limit: int = Field(ge=0, le=1000)  # rewarded views
    complete_within: int = Field(ge=30, le=3600)  # seconds from the start
    expires_days: Days | None
    priority: Priority = 20

    @model_validator(mode="after")
    def _are_reachable(self) -> Self:
        if any(reward.seconds > self.complete_within for reward in self.rewards):
            raise ValueError("a reward must be within reach of complete_within")
        return self


class CreditCatalogue(_Part):
    packs: list[Pack]
    uses: dict[Code, Use]
    ads: Ads
    grant_priority: Priority = 30  # of what is given by staff or refunded

    @model_validator(mode="after")
    def _are_distinct(self) -> Self:
        codes = [pack.code for pack in self.packs]
        if len(set(codes)) < len(codes):
            raise ValueError("two packs have the same code")
        return self

    def find_pack(self, code: str) -> Pack | None:
        return next((pack for pack in self.packs if pack.code == code), None)


def find_credits(folder: Path) -> Path:
    """A family's own, or what is shipped for all that have none."""
    own = folder / FILE.name
    return own if own.exists() else FILE


def load_credits(path: Path = FILE, currency: str | None = None) -> CreditCatalogue:
    """`currency`: every pack has a price in it. Raises CatalogueError with everything that is wrong."""
    parsed = parse(path)
    if isinstance(parsed, Problem):
        raise CatalogueError([parsed])
    root, raw = parsed
    problems = doubles(path.name, root)
    try:
        found = CreditCatalogue.model_validate(raw)
    except ValidationError as error:
        problems += [_explain(path.name, root, told) for told in error.errors()]
        raise CatalogueError(problems) from error
    problems += _unsold(path, root, found, currency)
    if problems:
        raise CatalogueError(problems)
    return found


def _unsold(path: Path, root: yaml.Node, found: CreditCatalogue, currency: str | None) -> Iterator[Problem]:
    """Whoever names no currency could not buy it."""
    advice = f"; put a {FILE.name} of your own beside the plans" if path == FILE else ""
    for number, pack in enumerate(found.packs):
        if currency is not None and currency not in pack.prices:
            loc = ("packs", number, "prices")
            yield at(path.name, place(root, loc), f"{_said(loc)}: there is none in {currency} (CURRENCY){advice}")


def _explain(file: str, root: yaml.Node, error: Any) -> Problem:
    loc, said = error["loc"], str(error["msg"]).removeprefix("Value error, ")
    return at(file, place(root, loc, key=error["type"] == "extra_forbidden"), f"{_said(loc)}: {said}")


def _said(loc: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in loc) or "credits"
