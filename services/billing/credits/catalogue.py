"""What credits cost and what they buy: `catalogue/credits.yaml`, read and checked."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.billing.catalogue.loader import FOLDER, CatalogueError
from services.billing.catalogue.problems import Problem
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


def load_credits(path: Path = FILE) -> CreditCatalogue:
    """Raises CatalogueError: file, line, where, what."""
    text = path.read_text()
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        raw: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        raise CatalogueError([Problem(path.name, f"not YAML: {getattr(error, 'problem', error)}", line)]) from error
    try:
        return CreditCatalogue.model_validate(raw)
    except ValidationError as error:
        raise CatalogueError([_explain(path.name, root, found) for found in error.errors()]) from error


def _explain(file: str, root: Any, error: Any) -> Problem:
    place = ".".join(str(part) for part in error["loc"]) or "credits"
    return Problem(file, f"{place}: {error['msg']}", _line_of(root, error["loc"]))


def _line_of(node: Any, loc: Sequence[str | int]) -> int:
    """Where it stands, or what should hold it."""
    line = node.start_mark.line if node is not None else 0
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
    return int(line) + 1
