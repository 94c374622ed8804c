from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.security.signatures import make, matches

NEW, OLD, FOREIGN = "new-key-of-the-links", "old-key-of-the-links", "key-of-somebody-else"
PARTS = ("read", "tenant-1", "file-1", 1_900_000_000)


def test_its_form() -> None:
    signature = make(NEW, *PARTS)
    assert len(signature) == 43
    assert set(signature) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_its_value_stays_so_that_links_outlive_a_release() -> None:
    # openssl dgst -sha256 -hmac new-key-of-the-links over the four parts with a newline between them
    assert make(NEW, *PARTS) == "QpMD9JbK7Hsb3zNgLOI99pNm0vX49fB7xSfgsts4MkI"


def test_what_was_signed_matches() -> None:
    assert matches(make(NEW, *PARTS), [NEW], *PARTS)


def test_a_rotated_key_still_matches_and_a_withdrawn_one_does_not() -> None:
    signature = make(OLD, *PARTS)
    assert matches(signature, [NEW, OLD], *PARTS)
    assert not matches(signature, [NEW], *PARTS)
    assert not matches(signature, [], *PARTS)


def test_a_foreign_key_does_not_match() -> None:
    assert not matches(make(FOREIGN, *PARTS), [NEW, OLD], *PARTS)


@pytest.mark.parametrize("place", range(len(PARTS)))
def test_every_part_is_signed(place: int) -> None:
    altered = [*PARTS]
    altered[place] = f"{PARTS[place]}0"
    assert not matches(make(NEW, *PARTS), [NEW], *altered)


def test_parts_are_signed_in_their_order_and_number() -> None:
    signature = make(NEW, *PARTS)
    assert not matches(signature, [NEW], *reversed(PARTS))
    assert not matches(signature, [NEW], *PARTS[:-1])
    assert not matches(signature, [NEW], *PARTS, "")
    assert not matches(make(NEW, "ab", "c"), [NEW], "a", "bc")


def test_every_character_of_it_counts() -> None:
    signature = make(NEW, *PARTS)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place, character in enumerate(signature):
        for other in alphabet.replace(character, ""):
            assert not matches(signature[:place] + other + signature[place + 1 :], [NEW], *PARTS)


@pytest.mark.parametrize("alter", [lambda s: s[:-1], lambda s: s + "=", lambda s: s + "\n", lambda s: s.swapcase()])
def test_nothing_is_cut_off_or_added(alter: Callable[[str], str]) -> None:
    assert not matches(alter(make(NEW, *PARTS)), [NEW], *PARTS)


@given(st.text(st.characters()))
def test_any_other_text_is_refused_without_an_error(text: str) -> None:
    assert not matches(text, [NEW, OLD], *PARTS)


def test_half_a_character_is_refused_without_an_error() -> None:
    assert not matches("\ud800", [NEW], *PARTS)
