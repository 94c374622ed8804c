"""Media types and names, without a service."""

import puremagic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.media import rules
from tests.services.upload.media.samples import KNOWN

SIGNATURES = [magic for magic in puremagic.magic_header_array if magic.offset < 4096]


@pytest.mark.parametrize("filler", [b"\x01", b" "])
def test_every_signature_is_found_as_puremagic_finds_it(filler: bytes) -> None:
    """Our index against the library's own walk through its table, longer than any footer it looks for."""
    for magic in SIGNATURES:
        head = (filler * magic.offset + magic.byte_match).ljust(4096, filler)[:4096]
        try:
            expected = str(puremagic.from_string(head, mime=True)).lower()
        except puremagic.PureError:
            expected = ""
        assert rules.sniff(head) == expected, magic


@pytest.mark.parametrize(("head", "expected"), KNOWN, ids=str)
def test_known_kinds(head: bytes, expected: str) -> None:
    assert rules.media_type(head[:4096], None) == expected


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        ("image/png", "image"),
        ("image/svg+xml", "image"),
        ("video/mp4", "video"),
        ("audio/mp4", "audio"),
        ("text/csv", "document"),
        ("text/html", "document"),
        ("application/pdf", "document"),
        ("application/json", "document"),
        ("application/epub+zip", "document"),
        ("application/msword", "document"),
        ("application/vnd.ms-powerpoint", "document"),
        ("application/vnd.oasis.opendocument.text", "document"),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "document"),
        ("application/zip", "other"),
        ("application/octet-stream", "other"),
        ("application/vnd.microsoft.portable-executable", "other"),
        ("font/ttf", "other"),
    ],
)
def test_file_types(media: str, expected: str) -> None:
    assert rules.file_type(media) == expected


@given(st.binary(max_size=600))
def test_whatever_comes_has_a_type(head: bytes) -> None:
    assert "/" in rules.media_type(head, "nonsense")


@pytest.mark.parametrize(
    ("head", "declared", "expected"),
    [
        (b"%PDF-1.7\n", "image/png", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "text/html", "image/png"),
        (b"hello", "text/markdown", "text/markdown"),
        (b"hello", "application/x-msdownload", "text/plain"),
        (b"{a\xfb\nV\x03#s\xba", "application/json", "application/octet-stream"),
        (b"\x00\x01\x02", "text/plain", "application/octet-stream"),
        (b"", None, "application/octet-stream"),
        (b"PK\x03\x04" + bytes(40), "image/png", "application/zip"),
    ],
)
def test_the_content_is_believed_and_not_the_client(head: bytes, declared: str | None, expected: str) -> None:
    assert rules.media_type(head, declared) == expected
