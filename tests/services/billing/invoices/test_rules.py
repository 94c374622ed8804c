"""Sums that are exact for any input."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.errors import CreditTooLarge
from services.billing.invoices.credits import credit_note
from services.billing.invoices.rules import Amounts, Credit, Item, charge, give_back, half_up, number_of, shares
from tests.services.billing.invoices.books import drawn

prices = st.integers(-(10**12), 10**12)
rates = st.sampled_from([0, 810, 1900, 2000, 2550, 2700])
lines = st.lists(st.tuples(prices, rates), min_size=1, max_size=30)


@given(lines=lines, inclusive=st.booleans())
def test_lines_sum_to_their_invoice(lines: list[tuple[int, int]], inclusive: bool) -> None:
    given_prices, given_rates = [price for price, _ in lines], [rate for _, rate in lines]
    found = charge(given_prices, given_rates, inclusive=inclusive)
    assert [part.gross if inclusive else part.net for part in found] == given_prices
    for rate in set(given_rates):
        of_rate = [part for part, other in zip(found, given_rates, strict=True) if other == rate]
        net, tax = sum(part.net for part in of_rate), sum(part.tax for part in of_rate)
        # Half a unit, and where the price was what is exact, the half of net that was rounded, too.
        assert abs(tax * 10_000 - net * rate) <= 5_000 + (rate / 2 if inclusive else 0)
        if not inclusive:
            assert tax == half_up(net * rate, 10_000)
        if rate == 0:
            assert all(part.tax == 0 for part in of_rate)


@given(prices=st.lists(st.integers(0, 10**9), min_size=1), rate=rates)
def test_no_line_pays_a_unit_more_than_its_share(prices: list[int], rate: int) -> None:
    found = charge(prices, [rate] * len(prices), inclusive=False)
    total, whole = sum(part.tax for part in found), sum(prices)
    for price, part in zip(prices, found, strict=True):
        assert abs(part.tax * whole - total * price) < max(whole, 1)


@given(total=st.integers(-(10**15), 10**15), weights=st.lists(prices, min_size=1))
def test_shares_sum_to_what_was_shared(total: int, weights: list[int]) -> None:
    assert sum(shares(total, weights)) == total


def test_halves_go_up() -> None:
    assert [half_up(value, 10) for value in (4, 5, 15, -4, -5, -15)] == [0, 1, 2, 0, -1, -2]
    assert charge([50], [1900], inclusive=False) == [Amounts(50, 10)]  # 9.5
    assert charge([300], [1900], inclusive=True) == [Amounts(252, 48)]
    assert charge([100, 100, 100], [1900] * 3, inclusive=True) == [Amounts(84, 16)] * 3


@given(net=st.integers(1, 10**9), rate=rates, parts=st.lists(st.integers(1, 10**9), max_size=20))
def test_parts_given_back_never_exceed_and_end_exactly(net: int, rate: int, parts: list[int]) -> None:
    line = Amounts(net, half_up(net * rate, 10_000))
    before, back = 0, Amounts(0, 0)
    for part in [*parts, line.gross]:
        now = min(part, line.gross - before)
        if now == 0:
            break
        found = give_back(line, before, now)
        assert found.gross == now
        assert found.net >= 0
        assert found.tax >= 0
        before, back = before + now, Amounts(back.net + found.net, back.tax + found.tax)
    assert back == line
    with pytest.raises(ValueError, match="0"):
        give_back(line, before, 1)


@given(
    items=st.lists(
        st.builds(Item, st.just("x"), st.integers(-20, 50).filter(bool), st.integers(0, 10**7)), min_size=1, max_size=9
    )
)
def test_a_credit_note_over_all_is_the_mirror(items: list[Item]) -> None:
    invoice = drawn(*items)
    now = datetime.now(UTC)
    if invoice.gross <= 0:
        with pytest.raises(CreditTooLarge):
            credit_note(invoice, None, "all", now)
        return
    note = credit_note(invoice, None, "all", now)
    assert (note.net, note.tax, note.gross) == (invoice.net, invoice.tax, invoice.gross)
    charged = [line for line in invoice.lines if line.amounts.gross]
    assert [(line.amounts, line.quantity, line.unit_price) for line in note.lines] == [
        (line.amounts, line.quantity, line.unit_price) for line in charged
    ]
    assert [line.credits for line in note.lines] == [line.position for line in charged]


@given(wanted=st.integers(1, 2 * 10**5))
def test_so_much_in_all_is_spread_over_the_lines(wanted: int) -> None:
    invoice = drawn()
    if wanted > invoice.gross:
        with pytest.raises(CreditTooLarge):
            credit_note(invoice, wanted, "part", datetime.now(UTC))
    else:
        assert credit_note(invoice, wanted, "part", datetime.now(UTC)).gross == wanted


def test_a_line_is_named_once_and_exists() -> None:
    for wanted in ([Credit(1, 1), Credit(1, 1)], [Credit(9, 1)], [Credit(1, 0)], [Credit(1, -1)]):
        with pytest.raises(CreditTooLarge):
            credit_note(drawn(), wanted, "part", datetime.now(UTC))


def test_numbers() -> None:
    assert number_of("INV-{year}-{number:06}", 42, 2026) == "INV-2026-000042"
    for wrong in ("INV-{year}", "{seller}-{number}", "{}", "{number.x}"):
        with pytest.raises(ValueError, match="number"):
            number_of(wrong, 1, 2026)
