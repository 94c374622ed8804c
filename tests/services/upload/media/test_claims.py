"""What may not hide behind a name or a type, and what is let through although the sender is wrong."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.errors import TypeMismatch
from services.upload.media import rules
from services.upload.media.claims import check_claims
from tests.fixtures.postgres import query
from tests.services.upload.conftest import SECRET, Upload
from tests.services.upload.media.samples import KNOWN, OFFICE, PAGE, PNG, PROGRAM, ebml, iso, zipped
from tests.services.upload.media.test_allowed import WAYS
from tests.services.upload.ways import Client, Order, Way

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(60)
DOCX = zipped("[Content_Types].xml", "word/document.xml")
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def judge(head: bytes, declared: str, name: str) -> str:
    declared = rules.clean(declared)
    found = rules.media_type(head, declared, name)
    check_claims(head, found, declared, name)
    return found


@pytest.mark.parametrize(
    ("head", "declared", "name"),
    [
        (b"<html>", "image/png", "a"),
        (PAGE, "", "a.png"),
        (b"<!-- " + b"x" * 1000 + b" -->\n<script>", "image/gif", "a.gif"),
        ("\ufeff<html>".encode("utf-16-le"), "image/jpeg", "a.jpg"),
        (SVG, "image/png", "a.png"),
        (SVG, "", "a.JPG"),
        (b'<?xml version="1.0"?><x/>', "image/png", "a.png"),
        (PROGRAM, "image/jpeg", "a.jpg"),
        (PROGRAM, "", "report.pdf"),
        (PROGRAM, "", "letter.docx"),
        (PROGRAM, "text/plain", "readme.txt"),
        (b"#!/bin/sh\n", "video/mp4", "a.mp4"),
        (zipped("a.txt"), "image/png", "a.png"),
        (zipped("META-INF/MANIFEST.MF"), "image/gif", "a.gif"),
        (b"%PDF-1.7", "image/png", "a.png"),
        (b"<html>%PDF-1.4", "application/pdf", "a.pdf"),
        (b"<html>", "application/zip", "a.zip"),
        (PNG + b"<html><body>", "image/png", "a.png"),
        (b"GIF89a\x01\x00<script>alert(1)</script>\x00", "", "a"),
        (JPEG + b'<SVG id="x" xmlns="http://www.w3.org/2000/svg">', "", "a"),
    ],
)
def test_disguises_are_refused(head: bytes, declared: str, name: str) -> None:
    with pytest.raises(TypeMismatch):
        judge(head, declared, name)


@pytest.mark.parametrize(
    ("head", "declared", "name", "stored"),
    [
        (JPEG, "image/png", "a.png", "image/jpeg"),
        (PNG, "application/octet-stream", "a.bin", "image/png"),
        (PNG, "", "", "image/png"),
        (PNG, "text/plain", "a.txt", "image/png"),
        (b"<html>", "text/plain", "a.txt", "text/html"),
        (SVG, "image/svg+xml", "a.svg", "image/svg+xml"),
        (SVG, "application/xml", "a.xml", "image/svg+xml"),
        (b'<?xml version="1.0"?><x/>', "image/svg+xml", "a.svg", "application/xml"),
        (DOCX, "application/zip", "a.docx", f"{OFFICE}wordprocessingml.document"),
        (zipped("a"), f"{OFFICE}wordprocessingml.document", "a.docx", "application/zip"),
        (OLE, f"{OFFICE}wordprocessingml.document", "secret.docx", "application/x-ole-storage"),
        (OLE, "", "old.doc", "application/msword"),
        (b"<html><table>", "application/vnd.ms-excel", "report.xls", "text/html"),
        (iso(b"M4A "), "video/mp4", "a.mp4", "audio/mp4"),
        (ebml(b"webm"), "audio/webm", "a.weba", "video/webm"),
        (b"\x1f\x8b\x08" + bytes(20), "application/zip", "a.zip", "application/gzip"),
        (b"\x00\x01 no format", "image/png", "a.png", "application/octet-stream"),
        (b"hello", "image/png", "a.png", "text/plain"),
        (b"", "image/png", "a.png", "application/octet-stream"),
        (PROGRAM, "", "setup.exe", "application/vnd.microsoft.portable-executable"),
        (b"a,b\n1,2\n", "text/csv; charset=utf-8", "a.csv", "text/csv"),
        (b"[1]", "application/json", "a.json", "application/json"),
        (b"hello", "text/html", "a.html", "text/html"),
    ],
)
def test_harmless_differences_pass(head: bytes, declared: str, name: str, stored: str) -> None:
    assert judge(head, declared, name) == stored


@pytest.mark.parametrize(("head", "stored"), KNOWN, ids=str)
def test_a_sender_who_says_nothing_is_never_wrong(head: bytes, stored: str) -> None:
    assert judge(head[:4096], "", "") == judge(head[:4096], "application/octet-stream", "file") == stored


@given(st.binary(max_size=300), st.text(max_size=20), st.sampled_from(["", "image/png", "nonsense", "text/html"]))
def test_any_bytes_are_judged(head: bytes, name: str, declared: str) -> None:
    for start in (b"", b"<", b"<!--", b"<?xml ", b"PK\x03\x04", b"\xff\xfe<", b"<!DOCTYPE "):
        try:
            assert "/" in judge(start + head, declared, name)
        except TypeMismatch as refusal:
            assert refusal.status == 415  # noqa: PT017 - it may or may not be refused


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_in_refuses_a_page_called_a_picture(service: Upload, way: Way) -> None:
    who = service.customer()
    client = Client(service.http, [service.url], who.tenant, SECRET, random.Random(1), {})
    page = PAGE + b" " * 200_000
    assert await way(client, Order(1, way, len(page), content=page)) == 415
    refused = client.refusals[0]
    assert (refused["code"], refused["found"]) == ("type_mismatch", "text/html")
    assert refused["declared"] in {"image/png", "*.png"}
    account = await service.account(who.tenant)
    assert (account["used"], account["reserved"], service.blobs()) == (0, 0, [])
    states = await query(service.dsn.superuser, "SELECT state, problem->>'code' AS code FROM direct_upload")
    assert [tuple(row) for row in states] == ([("refused", "type_mismatch")] if way is Client.direct else [])
    assert await way(client, Order(2, way, len(PNG), content=PNG)) in {200, 201}
    (file,) = (await who.call("GET", "/api/storage/files"))[1]["items"]
    assert (file["content_type"], file["file_type"]) == ("image/png", "image")
