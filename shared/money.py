"""Money is an integer of minor units and an ISO 4217 code; people see decimal text."""

import re
from dataclasses import dataclass
from typing import Self

# ISO 4217: currencies whose minor unit is not a hundredth.
_DIGITS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}
_TEXT = re.compile(r"(-?)([0-9]{1,15})(?:\.([0-9]+))?")  # `\d` would take the digits of every script
_CODE = re.compile(r"[A-Z]{3}")


def minor_digits(currency: str) -> int:
    return _DIGITS.get(currency, 2)


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """`amount` in minor units: 300 EUR is three euros."""

    amount: int
    currency: str

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.currency):
            raise ValueError(f"not an ISO 4217 code: {self.currency!r}")

    @classmethod
    def parse(cls, text: str, currency: str) -> Self:
        """Reads "3.00"; raises ValueError for anything with more decimals than the currency has."""
        found = _TEXT.fullmatch(text)
        digits = minor_digits(currency)
        if found is None or len(found[3] or "") > digits:
            raise ValueError(f"not an amount of {currency}: {text!r}")
        amount = int(found[2]) * 10**digits + int((found[3] or "").ljust(digits, "0") or 0)
        return cls(-amount if found[1] else amount, currency)

    @property
    def text(self) -> str:
        digits = minor_digits(self.currency)
        whole, rest = divmod(abs(self.amount), 10**digits)
        sign = "-" if self.amount < 0 else ""
        return f"{sign}{whole}.{rest:0{digits}d}" if digits else f"{sign}{whole}"
