"""Card numbers in text: all the networks', however they are written; and nothing else."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.cards import in_body
from shared.ids import new_id
from shared.security.cards import has_card_number, holds_card_number, redacted, without_card_numbers

# The test numbers the networks and their processors publish.
CARDS = {
    "visa": "4242424242424242",
    "visa 13": "4222222222222",
    "visa debit": "4000056655665556",
    "mastercard": "5555555555554444",
    "mastercard 2": "2223003122003222",
    "american express": "378282246310005",
    "american express 2": "371449635398431",
    "discover": "6011111111111117",
    "discover 2": "6445644564456445",
    "diners club": "3056930009020004",
    "diners club 14": "36227206271667",
    "jcb": "3566002020360505",
    "unionpay": "6200000000000005",
    "unionpay 19": "6205500000000000004",
    "maestro": "6759649826438453",
    "maestro 2": "5018720000000002",
    "mir": "2200000000000004",
    "rupay": "6074820000000007",
}


def luhn(digits: str) -> str:
    """With its check digit."""
    for last in "0123456789":
        total = 0
        for place, digit in enumerate(reversed(digits + last)):
            value = int(digit) * (1 + place % 2)
            total += value - 9 if value > 9 else value
        if total % 10 == 0:
            return digits + last
    raise AssertionError


NUMBERS = [luhn(number[:-1]) for number in CARDS.values()]


def ways(number: str) -> list[str]:
    grouped = [number[:4], number[4:8], number[8:12], number[12:]]
    return [
        number,
        " ".join(grouped),
        "-".join(grouped),
        "\u00a0".join(grouped),
        "\u2013".join(grouped),
        " ".join(number),
        f"card:{number}",
        f"card{number}",
        f"({number})",
        f"my card {number} 12/28 123",
        f"{number} 1228 123",
        f"id-{number}",
        f"{number[:4]} {number[4:10]} {number[10:]}",
        number.translate({ord("0") + n: 0xFF10 + n for n in range(10)}),
        number.translate({ord("0") + n: 0x0660 + n for n in range(10)}),
    ]


@pytest.mark.parametrize("number", NUMBERS, ids=list(CARDS))
def test_found_however_it_is_written(number: str) -> None:
    for text in ways(number):
        assert has_card_number(text), text
        clean = without_card_numbers(text)
        assert not has_card_number(clean), clean
        assert len(clean) == len(text)
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert not has_card_number(wrong), "wrong by Luhn"


@pytest.mark.parametrize("number", NUMBERS, ids=list(CARDS))
def test_in_whatever_field(number: str) -> None:
    for value in ({"a": number}, {number: 1}, [[{"x": {"y": [number]}}]], number, {"a": int(number)}, {"a": float(15)}):
        expected = value != {"a": 15.0}
        assert holds_card_number(value) is expected
        assert not holds_card_number(redacted(value))
        assert in_body(orjson.dumps(value)) is expected
    escaped = "".join(f"\\u{ord(digit):04x}" for digit in number)
    assert in_body(f'{{"a":"{escaped}"}}'.encode())
    assert in_body(f"a=1&b={number}".encode())
    assert in_body(f"a=1&b={number[:4]}+{number[4:]}".encode())
    assert in_body(f"b=%3{number[0]}{number[1:]}".encode())
    assert in_body(f'{{"broken": "{number}"'.encode())


@given(st.uuids())
def test_no_uuid_is_one(value: UUID) -> None:
    assert not has_card_number(str(value))
    assert not has_card_number(f"/api/payments/{value}/status?x={value}")


def test_no_id_of_ours_is_one() -> None:
    assert not any(has_card_number(str(new_id())) for _ in range(2000))
    assert not has_card_number("42424242-4242-4242-8242-424242424242")


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2038, 1, 1)))  # noqa: DTZ001 - made aware below
def test_no_moment_is_one(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    seconds = int(moment.timestamp())
    for value in (
        moment.isoformat(),
        str(seconds),
        str(seconds * 1000),
        str(seconds * 1_000_000),
        f"{moment:%Y%m%d%H%M%S}",
    ):
        assert not has_card_number(value), value
    assert not holds_card_number({"at": seconds * 1000})


@given(st.integers(0, 10**15), st.sampled_from(["", ".0", ".00", ".000"]))
def test_no_amount_is_one(amount: int, decimals: str) -> None:
    assert not has_card_number(f"{amount / 100:.2f}")
    assert not has_card_number(f"{amount // 10**4}{decimals}"), "up to 11 digits"


@pytest.mark.parametrize(
    "value",
    [
        "+6281234567890123",
        "+49 151 2345678",
        "evt_4f4242424242424242ab4c",
        "4242424242424242a1b2c3d4e5f60718",
        "0.4242424242424242",
        "v1,K0VqF7u0BvUz1H6V4dT2s7X0t8bJvYd5mJmQ0m3cYqA=",
        "1234567890123456",
        "12345678901234567890123",
        "",
    ],
)
def test_no_false_alarm(value: str) -> None:
    assert not has_card_number(value)


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_whatever_comes_is_judged(value: Any) -> None:
    clean = redacted(value)
    assert not holds_card_number(clean)
    if not holds_card_number(value):
        assert clean == value
