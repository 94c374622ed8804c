from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.money import Money, minor_digits

AMOUNTS = st.integers(-(10**15) + 1, 10**15 - 1)
CODES = st.sampled_from(["EUR", "USD", "JPY", "KRW", "KWD", "TND"])


@pytest.mark.parametrize(("code", "digits"), [("EUR", 2), ("USD", 2), ("JPY", 0), ("XOF", 0), ("KWD", 3), ("TND", 3)])
def test_minor_digits_of_iso_4217(code: str, digits: int) -> None:
    assert minor_digits(code) == digits


@pytest.mark.parametrize(
    ("text", "code", "amount"),
    [
        ("3.00", "EUR", 300),
        ("3", "EUR", 300),
        ("3.5", "EUR", 350),
        ("0.05", "EUR", 5),
        ("-0.05", "EUR", -5),
        ("0", "EUR", 0),
        ("1200", "JPY", 1200),
        ("1.234", "KWD", 1234),
        ("999999999999999.99", "EUR", 99_999_999_999_999_999),
    ],
)
def test_text_is_read_exactly(text: str, code: str, amount: int) -> None:
    assert Money.parse(text, code) == Money(amount, code)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3.000",
        "3.",
        ".5",
        "3,00",
        "1 000",
        "+3",
        "--3",
        "1e3",
        "NaN",
        "Infinity",
        "0x10",
        " 3",
        "3\n",
        "1_0",
        "9" * 16,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount of EUR"):
        Money.parse(text, "EUR")


def test_a_currency_without_minor_unit_takes_no_decimals() -> None:
    with pytest.raises(ValueError, match="not an amount of JPY"):
        Money.parse("3.0", "JPY")


@pytest.mark.parametrize("code", ["", "eur", "EURO", "EU", "E1R", "EUR\n"])
def test_the_currency_is_a_code(code: str) -> None:
    with pytest.raises(ValueError, match="not an ISO 4217 code"):
        Money(1, code)
    with pytest.raises(ValueError, match="not an"):
        Money.parse("1", code)


@given(AMOUNTS, CODES)
def test_what_is_written_is_read_again(amount: int, code: str) -> None:
    money = Money(amount, code)
    assert Money.parse(money.text, code) == money


@given(AMOUNTS, CODES)
def test_the_text_is_the_amount_with_all_its_decimals(amount: int, code: str) -> None:
    digits = minor_digits(code)
    text = Money(amount, code).text
    assert Decimal(text) == Decimal(amount).scaleb(-digits)
    assert len(text.partition(".")[2]) == digits


@given(st.text(max_size=12), CODES)
def test_reading_never_fails_in_another_way(text: str, code: str) -> None:
    try:
        money = Money.parse(text, code)
    except ValueError:
        return
    assert Decimal(money.text) == Decimal(text)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Money(1, "EUR").amount = 2  # type: ignore[misc]
