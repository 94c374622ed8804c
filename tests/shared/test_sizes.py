import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sizes import format_bytes

UNITS = {"Bytes": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
SIZES = st.integers(0, 2**63 - 1) | st.integers(0, 2**32) | st.integers(0, 5000)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 Bytes"),
        (1, "1 Bytes"),
        (1023, "1023 Bytes"),
        (1024, "1 KB"),
        (1536, "1.5 KB"),
        (1024 + 51, "1.05 KB"),
        (100 * 1024**2, "100 MB"),
        (4_831_838_208, "4.5 GB"),
        (1024**3 - 1, "1 GB"),  # not 1024 MB
        (1024**4, "1 TB"),
        (3000 * 1024**4, "3000 TB"),
        (-1536, "-1.5 KB"),
    ],
)
def test_known_sizes(size: int, text: str) -> None:
    assert format_bytes(size) == text


@given(SIZES)
def test_it_is_the_nearest_hundredth_of_the_largest_fitting_unit(size: int) -> None:
    number, unit = format_bytes(size).split()
    assert abs(Fraction(number) * UNITS[unit] - size) <= Fraction(UNITS[unit], 200)
    assert unit == "TB" or Fraction(number) < 1024
    assert unit == "Bytes" or Fraction(number) >= 1


@given(SIZES)
def test_no_zero_trails_and_no_third_decimal(size: int) -> None:
    assert re.fullmatch(r"\d+(\.\d?[1-9])? (Bytes|[KMGT]B)", format_bytes(size))


@given(SIZES, SIZES)
def test_more_bytes_never_look_like_fewer(one: int, other: int) -> None:
    smaller, larger = sorted((one, other))
    shown = [Fraction(number) * UNITS[unit] for number, unit in (format_bytes(s).split() for s in (smaller, larger))]
    assert shown[0] <= shown[1]


@given(SIZES.filter(bool))
def test_a_negative_size_is_the_same_with_a_sign(size: int) -> None:
    assert format_bytes(-size) == f"-{format_bytes(size)}"
