"""What is on an invoice, to the minor unit. Pure. Rates are basis points: 1900 is 19 %."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

Kind = Literal["invoice", "credit_note"]
Status = Literal["open", "paid", "void", "credited"]

WHOLE = 10_000  # basis points


@dataclass(frozen=True, slots=True)
class Item:
    """What is charged for. Something given back (unused time) has a quantity below zero; prices never are."""

    description: str
    quantity: int
    unit_price: int  # minor units
    period_from: date | None = None
    period_to: date | None = None


@dataclass(frozen=True, slots=True)
class Amounts:
    """In minor units."""

    net: int
    tax: int

    @property
    def gross(self) -> int:
        return self.net + self.tax


@dataclass(frozen=True, slots=True)
class Credit:
    """So much of one line is given back, tax included."""

    position: int  # of the invoice's line, from 1
    gross: int


def charge(prices: Sequence[int], rates: Sequence[int], *, inclusive: bool) -> list[Amounts]:
    """Net and tax of each line. Tax is rounded once for each rate, half up, as EN 16931 wants it (BR-CO-17), and given
    to the lines of that rate by largest remainder: the lines sum to the invoice. `inclusive`: the prices hold the tax,
    and what was to be paid stays exactly that. Lines that sum to nothing owe no tax, but each has its own.
    """
    found: dict[int, Amounts] = {}
    for rate in set(rates):
        places = [place for place, other in enumerate(rates) if other == rate]
        part = [prices[place] for place in places]
        taxes = shares(_tax(sum(part), rate, inclusive=inclusive), part)
        if sum(part) == 0:
            taxes = _cancelling(part, rate, inclusive=inclusive)
        for place, price, tax in zip(places, part, taxes, strict=True):
            found[place] = Amounts(price - tax if inclusive else price, tax)
    return [found[place] for place in range(len(prices))]


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """`total` parted as the weights are, by largest remainder: the parts sum to it, and none is a whole unit off."""
    whole = sum(weights)
    if whole < 0:
        return [-part for part in shares(-total, [-weight for weight in weights])]
    if whole == 0:
        # Weights that cancel each other out, or none at all: there is no measure to part by.
        return [total, *[0] * (len(weights) - 1)] if weights else []
    parts = [total * weight // whole for weight in weights]
    rest = total - sum(parts)
    by_remainder = sorted(range(len(weights)), key=lambda place: (-(total * weights[place] % whole), place))
    for place in by_remainder[:rest]:
        parts[place] += 1
    return parts


def give_back(line: Amounts, before: int, now: int) -> Amounts:
    """What a credit of `now` (gross) takes of a line of which `before` was credited already. Counted from the line's
    beginning each time, so that all credits of a line together are the line, whatever their sizes. Raises ValueError
    for more than is left.
    """
    sign = -1 if line.gross < 0 else 1
    if now * sign <= 0 or (before + now) * sign > line.gross * sign:
        raise ValueError(f"{now} of {line.gross - before}")
    earlier, later = (half_up(line.net * credited, line.gross) for credited in (before, before + now))
    return Amounts(later - earlier, now - (later - earlier))


def half_up(numerator: int, denominator: int) -> int:
    """The quotient to the nearest whole number, halves away from zero."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    found = (2 * abs(numerator) + denominator) // (2 * denominator)
    return -found if numerator < 0 else found


def number_of(template: str, sequence: int, year: int) -> str:
    """`INV-{year}-{number:06}` as INV-2026-000042. Raises ValueError where two invoices would have one number."""
    try:
        found = template.format(year=year, number=sequence)
        distinct = template.format(year=year, number=sequence + 1) != found
    except (KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"an invoice's number knows {{year}} and {{number}}, not {error}") from error
    if not distinct:
        raise ValueError("an invoice's number has {number} in it")
    return found


def _cancelling(prices: Sequence[int], rate: int, *, inclusive: bool) -> list[int]:
    """Of prices that sum to nothing: what is charged and what is given back have the same tax."""
    charged, given = [max(0, price) for price in prices], [max(0, -price) for price in prices]
    tax = _tax(sum(charged), rate, inclusive=inclusive)
    return [plus - minus for plus, minus in zip(shares(tax, charged), shares(tax, given), strict=True)]


def _tax(total: int, rate: int, *, inclusive: bool) -> int:
    if inclusive:
        return total - half_up(total * WHOLE, WHOLE + rate)
    return half_up(total * rate, WHOLE)
