"""What no honest client sends: refused with the right code, memory flat, no byte and no reservation left."""

import asyncio
import contextlib
import io
import zipfile
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import pytest

from shared.http import Body
from tests.fixtures.postgres import query
from tests.services.upload.conftest import LIMIT, Customer, Upload

PIECE = b"x" * 65_536
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="category"\r\n\r\ndocuments\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
)
FORM_END = b"\r\n--b--\r\n"
GROWTH = 48 * 1024**2  # bytes of memory, for the service and its clients here together
WAYS = ["form", "raw"]


def head(who: Customer, way: str, *more: str) -> bytes:
    line = "POST /api/storage/upload" if way == "form" else "PUT /api/storage/content/documents/a.bin"
    kind = "multipart/form-data; boundary=b" if way == "form" else "application/octet-stream"
    lines = [f"{line} HTTP/1.1", "Host: x", f"Content-Type: {kind}", f"stowage-internal: {who.token}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


async def connect(service: Upload) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = urlsplit(service.url)
    return await asyncio.open_connection(where.hostname, where.port)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bytes]:
    """All that is said until the service hangs up."""
    said = b""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(20):
            while piece := await reader.read(65_536):
                said += piece
    writer.close()
    return int(said.split()[1]), said


async def nothing_is_left(service: Upload, who: Customer) -> None:
    await service.busy(requests=False)
    assert service.blobs() == []
    assert await query(service.dsn.superuser, "SELECT FROM reservation") == []
    account = await service.account(who.tenant)
    assert (account["used"], account["reserved"], account["files"]) == (0, 0, 0)


@contextlib.contextmanager
def flat_memory() -> Iterator[None]:
    process = psutil.Process()
    before = process.memory_info().rss
    yield
    assert process.memory_info().rss - before < GROWTH


@pytest.fixture
async def eve(service: Upload) -> Customer:
    found = service.customer()
    await found.quota()
    return found


@pytest.mark.parametrize("way", WAYS)
async def test_ten_gigabytes_declared(service: Upload, eve: Customer, way: str) -> None:
    reader, writer = await connect(service)
    writer.write(head(eve, way, f"Content-Length: {10 * 1024**3}"))
    status, said = await answer(reader, writer)
    assert status == 413
    assert b'"quota_exceeded"' in said
    await nothing_is_left(service, eve)


@pytest.mark.parametrize("way", WAYS)
async def test_chunks_without_end(service: Upload, eve: Customer, way: str) -> None:
    reader, writer = await connect(service)
    answering = asyncio.create_task(answer(reader, writer))
    writer.write(head(eve, way, "Transfer-Encoding: chunked"))
    if way == "form":
        writer.write(b"%x\r\n%b\r\n" % (len(FORM), FORM))
    with flat_memory(), contextlib.suppress(OSError):
        for _ in range(10 * LIMIT // len(PIECE)):
            writer.write(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
            await writer.drain()
            if answering.done():
                break
    status, said = await answering
    assert status == 413
    assert b'"quota_exceeded"' in said
    await nothing_is_left(service, eve)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sent", [0, 1, 300_000])
async def test_less_than_was_declared(service: Upload, eve: Customer, way: str, sent: int) -> None:
    _, writer = await connect(service)
    start = FORM if way == "form" and sent else b""
    writer.write(head(eve, way, "Content-Length: 600000") + start + b"x" * sent)
    await writer.drain()
    await service.busy()
    writer.close()
    await nothing_is_left(service, eve)


async def test_more_than_was_declared_is_not_in_the_file(service: Upload, eve: Customer) -> None:
    reader, writer = await connect(service)
    writer.write(head(eve, "raw", "Content-Length: 5", "Connection: close") + b"hello" + b"more\r\n\r\n")
    status, _ = await answer(reader, writer)
    assert status == 201
    assert (await eve.quota())["used"] == 5


@pytest.mark.parametrize("lengths", ["-1", "1, 2", "0x10", "1e9", "9" * 30])
async def test_lengths_that_are_none(service: Upload, eve: Customer, lengths: str) -> None:
    reader, writer = await connect(service)
    writer.write(head(eve, "raw", f"Content-Length: {lengths}") + b"hello")
    status, _ = await answer(reader, writer)
    assert status in {400, 413, 422}
    await nothing_is_left(service, eve)


@pytest.mark.parametrize("way", WAYS)
async def test_silence(service: Upload, eve: Customer, way: str) -> None:
    reader, writer = await connect(service)
    writer.write(head(eve, way, "Content-Length: 600000") + (FORM if way == "form" else b"") + b"x")
    status, said = await answer(reader, writer)
    assert status == 408
    assert b'"request_timeout"' in said
    await nothing_is_left(service, eve)


@pytest.mark.parametrize("way", WAYS)
async def test_a_byte_now_and_then(service: Upload, eve: Customer, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never idle for long, and yet too slow."""
    monkeypatch.setitem(Body.__init__.__kwdefaults__ or {}, "grace", 1.0)
    reader, writer = await connect(service)
    answering = asyncio.create_task(answer(reader, writer))
    writer.write(head(eve, way, "Content-Length: 600000") + (FORM if way == "form" else b""))
    with contextlib.suppress(OSError):
        while not answering.done():
            writer.write(b"x")
            await asyncio.sleep(0.2)
    status, _ = await answering
    assert status == 408
    await nothing_is_left(service, eve)


@pytest.mark.parametrize("fields", [17, 100_000])
async def test_fields_without_number(service: Upload, eve: Customer, fields: int) -> None:
    body = b"".join(b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n' % n for n in range(fields))
    reader, writer = await connect(service)
    answering = asyncio.create_task(answer(reader, writer))
    with flat_memory(), contextlib.suppress(OSError):
        writer.write(head(eve, "form", f"Content-Length: {len(body)}") + body)
        await writer.drain()
    status, said = await answering
    assert (status, b"too_many_fields" in said or b"quota_exceeded" in said) in {(422, True), (413, True)}
    await nothing_is_left(service, eve)


async def test_a_body_full_of_boundaries(eve: Customer) -> None:
    """Nearly the boundary, again and again: all of it is the file."""
    content = (b"\r\n--" + b"\r\n--a\r\n-" + b"\r--b--\n\r\n-b") * 10_000
    status, made = await eve.upload(content)
    assert (status, made["file_size"]) == (201, len(content))
    assert (await eve.call("GET", f"/api/storage/files/{made['file_id']}/content"))[1] == content


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("ü" * 127 + "x", 201),
        ("ü" * 128, 422),
        ("x" * 100_000, 422),
        ("a\x00b", 422),
        ("a\x07b", 422),
        ("../../etc/passwd", 422),
        ("..", 422),
        ("𝕏\u202e.txt", 201),
    ],
)
async def test_names(service: Upload, eve: Customer, name: str, status: int) -> None:
    assert (await eve.upload(b"x", name=name))[0] == status
    if status == 422:
        await nothing_is_left(service, eve)


async def test_polyglots_are_what_they_are(service: Upload, eve: Customer) -> None:
    for content, name in (
        (b"<html><script>alert(1)</script>%PDF-1.4", "a.pdf"),
        (b"GIF89a\x01\x00\x01\x00<script>alert(1)</script>\x00", "a.gif"),
        (b"\x89PNG\r\n\x1a\n\x00\x00<svg onload='x' xmlns='http://www.w3.org/2000/svg'>", "a.png"),
        (b"PK\x03\x04" + bytes(40), "a.jpg"),
    ):
        status, refused = await eve.upload(content, name=name)
        assert (status, refused["code"]) == (415, "type_mismatch")
    await nothing_is_left(service, eve)


async def test_a_zip_bomb_is_just_bytes(eve: Customer) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("zeros", bytes(100 * 1024**2))
    with flat_memory():
        status, made = await eve.upload(buffer.getvalue(), name="bomb.zip")
    assert (status, made["content_type"]) == (201, "application/zip")
    assert (await eve.quota())["used"] == len(buffer.getvalue())
