"""What a PUT's line and headers may say."""

import base64
import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.errors import InvalidUpload
from services.upload.raw.rules import Address, Wanted, sha256_of

HASH = hashlib.sha256(b"x")
SAID = base64.b64encode(HASH.digest()).decode()
OTHER = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (b"/a/documents/x.txt", ("documents", "", "x.txt")),
        (b"/a/documents/2026/may/x.txt", ("documents", "2026/may", "x.txt")),
        (b"/a/documents/%C3%BC/%25.txt", ("documents", "ü", "%.txt")),
        (b"/a/documents/100%2525", ("documents", "", "100%25")),  # decoded once
        (b"/a/documents/a+b", ("documents", "", "a+b")),
        (b"/a/documents/a%2Fb", ("documents", "", "a/b")),  # part of a name, which refuses it
        (b"/a/documents/", ("documents", "", "")),
    ],
)
def test_an_address_is_decoded_once(raw: bytes, read: tuple[str, str, str]) -> None:
    address = Address.read(raw, 1)
    assert (address.category, address.folder, address.name) == read


@pytest.mark.parametrize(
    "raw", [b"/a", b"/a/documents", b"/a/documents/%FF", b"/a/d/x%2Fy/z", b"/a/d//z", b"/%61%2Fd/x"]
)
def test_what_is_no_address(raw: bytes) -> None:
    with pytest.raises(InvalidUpload):
        Address.read(raw, 1)


@pytest.mark.parametrize(
    "header",
    [
        f"sha-256=:{SAID}:",
        f"sha-512=:AAAA:, sha-256=:{SAID}:",
        f"SHA-256=:{SAID}:",
        f"sha-256=:{SAID}:;q=1, md5=:AA==:",
    ],
)
def test_a_digest_among_others(header: str) -> None:
    assert sha256_of(header, None) == sha256_of(None, header) == sha256_of(header, header) == HASH.hexdigest()


def test_without_a_digest_of_ours_nothing_is_said() -> None:
    assert sha256_of(None, None) is None
    assert sha256_of("sha-512=:AAAA:", "") is None


@pytest.mark.parametrize(
    "header", ["sha-256=", "sha-256=:AAAA:", f"sha-256={SAID}", "sha-256=:!:", f"sha-256=:{SAID}:, sha-256=:{OTHER}:"]
)
def test_half_a_digest_is_refused(header: str) -> None:
    with pytest.raises(InvalidUpload, match="digest"):
        sha256_of(header, None)


def test_two_digests_that_differ_are_refused() -> None:
    with pytest.raises(InvalidUpload, match="contradict"):
        sha256_of(f"sha-256=:{SAID}:", f"sha-256=:{OTHER}:")


@given(st.text(max_size=200), st.binary(max_size=200))
def test_nothing_breaks_them(header: str, raw: bytes) -> None:
    for read in (lambda: sha256_of(header, None), lambda: Address.read(raw, 1), lambda: Wanted.read(header, None)):
        with contextlib.suppress(InvalidUpload):
            read()


@pytest.mark.parametrize(
    ("match", "none_match", "nothing", "same", "other"),
    [
        (None, None, True, True, True),
        (None, "*", True, False, False),
        ("*", None, False, True, True),
        (f'"{HASH.hexdigest()}"', None, False, True, False),
        (f'"no", "{HASH.hexdigest()}"', None, False, True, False),
        (f'W/"{HASH.hexdigest()}"', None, False, False, False),
        ("nonsense", None, False, False, False),
    ],
)
def test_conditions(match: str | None, none_match: str | None, nothing: bool, same: bool, other: bool) -> None:
    wanted = Wanted.read(match, none_match)
    assert wanted.met_by(None) is nothing
    assert wanted.met_by({"sha256": HASH.hexdigest()}) is same
    assert wanted.met_by({"sha256": "0" * 64}) is other
