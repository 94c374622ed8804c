"""What an invoice says beside its figures, in the languages of the interface."""

from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

FILE = Path(__file__).with_name("labels.yaml")


class Labels(BaseModel):
    """Of one language. `bought` is a line of so many credits. `decimal` and `group` are the signs within figures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    invoice: str
    credit_note: str
    bill_to: str
    number: str
    date: str
    due: str
    paid: str
    credits: str
    description: str
    quantity: str
    unit_price: str
    tax: str
    amount: str
    net: str
    total: str
    vat_id: str
    reverse: str
    outside: str
    unused: str
    bought: Annotated[str, Field(pattern=r"\{number\}")]
    decimal: str
    group: str

    def figure(self, text: str) -> str:
        """Decimal text as the language writes it: 1,234.50."""
        sign, digits = ("−", text[1:]) if text.startswith("-") else ("", text)
        whole, _, rest = digits.partition(".")
        grouped = f"{int(whole):,}".replace(",", self.group)
        return f"{sign}{grouped}{self.decimal}{rest}" if rest else f"{sign}{grouped}"

    def credits_of(self, number: int) -> str:
        """A line of so many credits."""
        return self.bought.format(number=self.figure(str(number)))


@cache
def labels_of(language: str) -> Labels:
    return _read()[language]


@cache
def _read() -> dict[str, Labels]:
    return TypeAdapter(dict[str, Labels]).validate_python(yaml.safe_load(FILE.read_text(encoding="utf-8")))
