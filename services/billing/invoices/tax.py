"""Which tax an invoice has: rules as a file, read and checked when the process starts."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.billing.details.parties import Party, Seller

FILE = Path(__file__).with_name("tax.yaml")

Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
BasisPoints = Annotated[int, Field(ge=0, le=5000)]
# UNTDID 5305: standard rate, reverse charge, outside the scope of VAT.
Category = Literal["S", "AE", "O"]


class TaxRulesError(Exception):
    """One line: what is wrong with the file."""


@dataclass(frozen=True, slots=True)
class Tax:
    """`rate` in basis points; 0 but for category S."""

    category: Category
    rate: int


class TaxRules(BaseModel):
    """By country the days from which a rate holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checked: str
    union: frozenset[Country]
    rates: dict[Country, Annotated[dict[date, BasisPoints], Field(min_length=1)]]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if missing := self.union - self.rates.keys():
            raise ValueError(f"no rate for {', '.join(sorted(missing))}")
        return self

    def tax(self, seller: Seller, buyer: Party, on: date) -> Tax:
        """Raises LookupError where the rate of that day is not in the file: a wrong zero is worse than no invoice."""
        if seller.vat_id is None:
            return Tax("O", 0)  # who is not registered must not charge any
        country = buyer.country or seller.country
        if country == seller.country:
            return Tax("S", self._rate(country, on))
        if not {country, seller.country} <= self.union:
            return Tax("O", 0)
        if buyer.vat_id is not None:
            return Tax("AE", 0)
        return Tax("S", self._rate(country, on))

    def _rate(self, country: str, on: date) -> int:
        known = [day for day in self.rates.get(country, {}) if day <= on]
        if not known:
            raise LookupError(f"tax.yaml knows no rate of {country} on {on}")
        return self.rates[country][max(known)]


def load(file: Path = FILE) -> TaxRules:
    """Raises TaxRulesError."""
    try:
        return TaxRules.model_validate(yaml.safe_load(file.read_text()))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "rules"
        raise TaxRulesError(f"{file.name}: {where}: {first['msg'].removeprefix('Value error, ')}") from error
    except (yaml.YAMLError, ValueError) as error:  # a day there is not
        raise TaxRulesError(f"{file.name}: not YAML: {getattr(error, 'problem', error)}") from error
