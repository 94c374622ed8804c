"""Card numbers in text: found, and made unreadable. Pure.

A card number is 13 to 19 digits, single spaces or dashes between them allowed, with a network's prefix and length, and
right by Luhn. UUIDs, hexadecimal ids, decimals and international phone numbers are none.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

_SHORTEST, _LONGEST = 13, 19
_UUID = re.compile(r"(?<![0-9a-zA-Z])[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![0-9a-zA-Z])")
# Hexadecimal with a letter in it: an id or a digest, whose digits mean nothing.
_HEX = re.compile(r"(?<![0-9a-zA-Z])(?=[0-9]*[a-fA-F])[0-9a-fA-F]{16,}(?![0-9a-zA-Z])")
# Groups with one separator between two of them. 0.4111… and 4111….00 are decimals, +62… is a telephone.
_GROUPS = re.compile(r"(?<![0-9])(?<![0-9][.,])(?<!\+)[0-9]+(?:[ -][0-9]+)*(?![0-9]|[.,][0-9])")
_MAYBE = re.compile(r"[0-9](?:[ -]?[0-9]){12}")
_SEPARATORS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\uff0d"), "-") | dict.fromkeys(
    map(ord, "\u00a0\u2000\u2001\u2002\u2003\u2007\u2009\u202f\u3000\t"), " "
)

# (first, last, lengths): prefixes of the networks, as wide as the shorter of the two is long.
_PREFIXES: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("6011", "6011", (16, 17, 18, 19)),  # Discover
    ("644", "649", (16, 17, 18, 19)),
    ("65", "65", (16, 17, 18, 19)),
    ("300", "305", (14, 15, 16, 17, 18, 19)),  # Diners Club
    ("3095", "3095", (14, 15, 16, 17, 18, 19)),
    ("36", "36", (14, 15, 16, 17, 18, 19)),
    ("38", "39", (14, 15, 16, 17, 18, 19)),
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("81", "81", (16, 17, 18, 19)),
    ("2200", "2204", (16, 17, 18, 19)),  # Mir
    ("9792", "9792", (16,)),  # Troy
    ("5018", "5018", (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    ("5020", "5020", (13, 14, 15, 16, 17, 18, 19)),
    ("5038", "5038", (13, 14, 15, 16, 17, 18, 19)),
    ("5893", "5893", (13, 14, 15, 16, 17, 18, 19)),
    ("6304", "6304", (13, 14, 15, 16, 17, 18, 19)),
    ("6759", "6763", (13, 14, 15, 16, 17, 18, 19)),
    ("508", "508", (16,)),  # RuPay
    ("606", "608", (16,)),  # RuPay, Hipercard
    ("353", "353", (16,)),
    ("356", "356", (16,)),
    ("506", "507", (16, 18, 19)),  # Verve, Elo
    ("636", "637", (16, 17, 18, 19)),  # Elo, InterPayment, InstaPayment
)


def has_card_number(text: str) -> bool:
    plain = _plain(text)
    return _MAYBE.search(plain) is not None and next(_spans(plain), None) is not None


def without_card_numbers(text: str) -> str:
    """Their digits are asterisks; everything else is as it was."""
    plain = _plain(text)
    if _MAYBE.search(plain) is None:
        return text
    letters = list(text)
    for start, end in _spans(plain):
        for at in range(start, end):
            if plain[at].isdigit():
                letters[at] = "*"
    return "".join(letters)


def holds_card_number(value: Any) -> bool:
    """Anywhere in what JSON can say, the names of fields included."""
    if isinstance(value, dict):
        return any(has_card_number(str(key)) or holds_card_number(inner) for key, inner in value.items())
    if isinstance(value, list):
        return any(map(holds_card_number, value))
    return _has(value)


def redacted(value: Any) -> Any:
    """The same without card numbers; a number that is one becomes text."""
    if isinstance(value, dict):
        return {without_card_numbers(str(key)): redacted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [redacted(inner) for inner in value]
    if isinstance(value, str):
        return without_card_numbers(value)
    return "*" * 16 if _has(value) else value


def _has(value: Any) -> bool:
    if isinstance(value, str):
        return has_card_number(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return isinstance(value, int) and not isinstance(value, bool) and _is_card(str(value))


def _plain(text: str) -> str:
    """ASCII digits, spaces and dashes for all that look like them; as long as `text`."""
    if text.isascii():
        return text
    return "".join(_digit(letter) for letter in text.translate(_SEPARATORS))


def _digit(letter: str) -> str:
    value = unicodedata.decimal(letter, None)
    return letter if value is None else str(value)


def _spans(plain: str) -> Iterator[tuple[int, int]]:
    hidden = _HEX.sub(_blank, _UUID.sub(_blank, plain))
    for found in _GROUPS.finditer(hidden):
        yield from _windows(found.start(), found.group())


def _blank(found: re.Match[str]) -> str:
    return "x" * len(found.group())


def _windows(offset: int, text: str) -> Iterator[tuple[int, int]]:
    """Neighbouring groups that are a card number together: what follows one may be its date and its code."""
    groups = [(group.start(), group.group()) for group in re.finditer(r"[0-9]+", text)]
    for first, (start, _) in enumerate(groups):
        digits = ""
        for at, group in groups[first:]:
            digits += group
            if len(digits) > _LONGEST:
                break
            if _is_card(digits):
                yield offset + start, offset + at + len(group)


def _is_card(digits: str) -> bool:
    if not _SHORTEST <= len(digits) <= _LONGEST or not digits.isdigit():
        return False
    known = any(len(digits) in lengths and low <= digits[: len(low)] <= high for low, high, lengths in _PREFIXES)
    return known and _luhn(digits)


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
