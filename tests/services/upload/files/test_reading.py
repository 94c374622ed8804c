"""Reading a file over HTTP: ranges, conditions, and what a browser may do with it."""

import asyncio
import email
import email.policy
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.files import rules
from services.upload.files.models import StoredFile
from services.upload.files.ranges import RANGES, Span, Unsatisfiable, requested_spans
from services.upload.files.service import BytesGone, FileService
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Customer, Upload

CONTENT = bytes(range(256)) * 40


async def stored(service: Upload, content: bytes = CONTENT, **options: Any) -> tuple[Customer, str]:
    ada = service.customer()
    _, made = await ada.upload(content, **options)
    return ada, f"/api/storage/files/{made['file_id']}/content"


async def test_several_ranges_come_in_one_answer(service: Upload) -> None:
    ada, path = await stored(service)
    status, body, headers = await ada.call("GET", path, headers={"range": "bytes=0-9, 100-199,-5"})
    assert status == 206
    assert headers["content-length"] == str(len(body))
    told = f"Content-Type: {headers['content-type']}\r\n\r\n".encode() + body
    parts = email.message_from_bytes(told, policy=email.policy.HTTP).get_payload()
    assert [part["content-range"] for part in parts] == [  # type: ignore[index]
        f"bytes {span}/{len(CONTENT)}" for span in ("0-9", "100-199", f"{len(CONTENT) - 5}-{len(CONTENT) - 1}")
    ]
    boundary = headers["content-type"].split("boundary=")[1].encode()
    pieces = [piece.split(b"\r\n\r\n", 1)[1] for piece in body.split(b"\r\n--" + boundary)[1:-1]]
    assert pieces == [CONTENT[:10], CONTENT[100:200], CONTENT[-5:]]
    assert {part.get_content_type() for part in parts} == {"application/octet-stream"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("header", "status", "sent"),
    [
        ("bytes=0-5,3-9", 206, CONTENT[:10]),  # one piece, as they overlap
        ("bytes=" + ",".join(["0-"] * 5), 206, CONTENT),
        ("bytes=0-,1-1,0-", 206, CONTENT),
        ("bytes=0-0,9000-,0-", 200, CONTENT),  # more in pieces than there is
        ("bytes=" + ",".join(f"{i}-{i}" for i in range(0, 2 * RANGES + 2, 2)), 200, CONTENT),
        ("bytes=5-2,7-8", 200, CONTENT),
        ("bytes=99999-,7-8", 206, CONTENT[7:9]),
        ("bytes=99999-,-0", 416, None),
        ("lines=1-2", 200, CONTENT),
        ("bytes=", 200, CONTENT),
    ],
)
async def test_ranges_are_limited(service: Upload, header: str, status: int, sent: bytes | None) -> None:
    ada, path = await stored(service)
    got, body, _ = await ada.call("GET", path, headers={"range": header})
    assert got == status
    if sent is not None:
        assert body == sent


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=RANGES), st.integers(1, 25))
def test_spans_stay_inside_and_are_never_more_than_the_file(pairs: list[tuple[int, int]], size: int) -> None:
    header = "bytes=" + ",".join(f"{first}-{last}" for first, last in pairs)
    try:
        spans = requested_spans(header, size)
    except Unsatisfiable:
        assert all(first >= size for first, _ in pairs)
        return
    assert all(0 <= span.start < span.end <= size for span in spans)
    assert sum(span.length for span in spans) <= size
    if spans:
        wanted = {i for first, last in pairs for i in range(first, min(last, size - 1) + 1)}
        assert {i for span in spans for i in range(span.start, span.end)} == wanted


def test_touching_spans_are_joined() -> None:
    assert requested_spans("bytes=0-4,5-9,20-", 30) == [Span(0, 10), Span(20, 10)]


async def test_conditions(service: Upload) -> None:
    ada, path = await stored(service)
    _, _, known = await ada.call("HEAD", path)
    tag, modified = known["etag"], known["last-modified"]
    at = datetime.now(UTC)
    past, future = (format_datetime(at + timedelta(hours=h), usegmt=True) for h in (-1, 1))
    for headers, status in (
        ({"if-none-match": tag}, 304),
        ({"if-none-match": f'"x", W/{tag}'}, 304),
        ({"if-none-match": '"x"', "if-modified-since": future}, 200),  # the tag alone decides
        ({"if-modified-since": modified}, 304),
        ({"if-modified-since": past}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-match": tag}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": f"W/{tag}"}, 412),
        ({"if-match": '"x"'}, 412),
        ({"if-unmodified-since": past}, 412),
        ({"if-unmodified-since": future}, 200),
        ({"range": "bytes=1-2", "if-range": tag}, 206),
        ({"range": "bytes=1-2", "if-range": '"x"'}, 200),
        ({"range": "bytes=1-2", "if-range": f"W/{tag}"}, 200),
        ({"range": "bytes=1-2", "if-range": past}, 200),
        ({"range": "bytes=99999-", "if-range": '"x"'}, 200),
        ({"range": "bytes=99999-", "if-none-match": tag}, 304),
    ):
        assert (await ada.call("GET", path, headers=headers))[0] == status, headers
    # Within the second of the change a date says too little; afterwards it says enough.
    await asyncio.sleep(1.1)
    assert (await ada.call("GET", path, headers={"range": "bytes=1-2", "if-range": modified}))[0] == 206


@pytest.mark.parametrize(
    ("media", "inline"),
    [
        ("image/png", True),
        ("application/pdf", True),
        ("audio/mpeg", True),
        ("video/mp4", True),
        ("text/plain", True),
        ("image/svg+xml", False),
        ("image/x+xml", False),
        ("text/html", False),
        ("text/xml", False),
        ("application/xhtml+xml", False),
        ("application/javascript", False),
        ("text/javascript", False),
        ("text/css", False),
        ("application/octet-stream", False),
    ],
)
def test_only_what_runs_no_script_is_shown(media: str, *, inline: bool) -> None:
    assert rules.shown_type(media, inline=True)[1] is inline
    assert rules.shown_type(media, inline=False) == (media, False)


async def test_a_browser_is_told_to_save_and_run_nothing(service: Upload) -> None:
    ada, path = await stored(service, b"<html><script>alert(1)</script></html>", name="page.html")
    _, _, headers = await ada.call("GET", f"{path}?disposition=inline")
    assert headers["content-disposition"].startswith("attachment")
    assert headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    ada, path = await stored(service, b"plain words")
    assert (await ada.call("GET", path))[2]["content-disposition"].startswith("attachment")
    _, body, headers = await ada.call("GET", f"{path}?disposition=inline")
    assert (body, headers["content-type"]) == (b"plain words", "text/plain; charset=utf-8")
    assert headers["content-disposition"].startswith("inline")
    assert headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize(
    ("state", "status", "code"), [("scanning", 409, "file_scanning"), ("blocked", 403, "file_blocked")]
)
async def test_what_is_not_found_clean_is_not_given_out(service: Upload, state: str, status: int, code: str) -> None:
    ada, path = await stored(service)
    await query(service.dsn.superuser, "UPDATE stored_file SET state = $1 WHERE tenant_id = $2", state, ada.tenant)
    got, problem, _ = await ada.call("GET", path)
    assert (got, problem["code"]) == (status, code)
    assert (await ada.call("GET", path, headers={"if-none-match": "*"}))[0] == status
    assert (await ada.call("GET", "/api/storage/files"))[1]["items"] == []
    listed = (await ada.call("GET", f"/api/storage/files?state={state}"))[1]["items"]
    assert [item["state"] for item in listed] == [state]
    link = (await ada.call("GET", path.replace("content", "url")))[1]["url"].removeprefix(service.url)
    assert (await ada.call("GET", link))[0] == status


async def test_a_reader_never_meets_a_file_between_two_places(service: Upload) -> None:
    """Replaced and moved all the time, read all the time: every answer is one whole version."""
    ada, path = await stored(service, b"0" * 1000)
    file = path.removesuffix("/content")

    async def change() -> None:
        for i in range(1, 15):
            assert (await ada.call("PUT", path, data=str(i % 10).encode() * 1000))[0] == 200
            where = {"category": ("properties", "documents")[i % 2]}
            assert (await ada.call("PATCH", file, json=where))[0] == 200
            await clean()

    async def clean() -> None:
        rows = await query(service.dsn.superuser, "DELETE FROM blob_garbage RETURNING path")
        for row in rows:
            (service.root / "blobs" / row["path"]).unlink(missing_ok=True)

    async def read() -> int:
        seen = 0
        while not changing.done():
            status, body, _ = await ada.call("GET", path)
            assert status == 200
            assert len(set(body)) == 1
            assert len(body) == 1000
            seen += 1
        return seen

    changing = asyncio.ensure_future(change())
    assert min(await asyncio.gather(*(read() for _ in range(3)))) > 0
    await changing


async def test_bytes_that_went_since_the_look_are_looked_for_again(
    service: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, path = await stored(service)
    real, looks = FileService.open, []

    async def late(self: FileService, file: StoredFile, span: Span) -> Any:
        looks.append(file.path)
        if len(looks) == 1:
            raise BytesGone
        return await real(self, file, span)

    monkeypatch.setattr(FileService, "open", late)
    status, body, _ = await ada.call("GET", path)
    assert (status, body, len(looks)) == (200, CONTENT, 2)
