"""Clients that hang up, come back, and write twice at once."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from typing import Any, Self

import aiohttp
import pytest

from services.upload.blobs.open import open_locations
from services.upload.main import create
from services.upload.resumable import turns
from services.upload.resumable.expiry import ResumableExpiry
from shared.db import Database
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Billing, Customer, Upload, serving, settings_for
from tests.services.upload.resumable.conftest import BYTES, PATH, VERSION, Tus, metadata

DATA = bytes(range(256)) * 2000  # 512,000 bytes


class Line:
    """A request on a bare socket, which stops where it likes."""

    def __init__(self, tus: Tus, method: str, path: str, **said: str) -> None:
        headers = {"Host": "x", "stowage-internal": tus.who.token, **VERSION, **BYTES}
        headers |= {name.replace("_", "-"): value for name, value in said.items()}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self._head = "\r\n".join([*lines, "", ""]).encode()
        self._port = tus.who.service.settings.port

    @classmethod
    def patch(cls, tus: Tus, upload: str, offset: int, length: int, **said: str) -> Self:
        sizes = {"Upload-Offset": str(offset), "Content-Length": str(length)}
        return cls(tus, "PATCH", f"{PATH}/{upload}", **sizes, **said)

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.writer.write(self._head)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def status(self) -> int:
        async with asyncio.timeout(10):
            return int((await self.reader.readuntil(b"\r\n\r\n")).split()[1])


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await holds():
            await asyncio.sleep(0.02)


async def until_offset(tus: Tus, upload: str, offset: int) -> None:
    async def reached() -> bool:
        return (await tus.head(upload)).offset == offset

    await until(reached)


async def leased(tus: Tus) -> bool:
    """A request is at work on one of the uploads."""
    return any(row["lease"] for row in await tus.rows())


@pytest.fixture
async def second(service: Upload, billing: Billing) -> AsyncIterator[Upload]:
    """Another application on the same database and disk, as another process would be."""
    settings = settings_for(service.dsn.app, service.root, billing.url)
    app = create(settings)
    async with aiohttp.ClientSession() as http:
        async for _ in serving(app, settings):
            yield Upload(settings.base_url, app, service.dsn, service.root, settings, http)


def at(other: Upload, tus: Tus) -> Tus:
    return Tus(Customer(other, tus.who.tenant, tus.who.user))


async def test_what_came_before_the_client_hung_up_is_kept(tus: Tus) -> None:
    upload = await tus.begun(len(DATA))
    async with Line.patch(tus, upload, 0, len(DATA)) as line:
        await line.send(DATA[:200_000])
        await until(lambda: leased(tus))
        await asyncio.sleep(0.1)
    await until_offset(tus, upload, 200_000)
    assert (await tus.patch(upload, 200_000, DATA[200_000:])).status == 204
    assert await tus.content(upload) == DATA


async def test_what_came_before_the_client_fell_silent_is_kept(tus: Tus) -> None:
    upload = await tus.begun(len(DATA))
    async with Line.patch(tus, upload, 0, len(DATA)) as line:
        await line.send(DATA[:1000])
        assert await line.status() == 408
    assert (await tus.head(upload)).offset == 1000


async def test_what_cannot_be_checked_is_not_kept(tus: Tus) -> None:
    upload = await tus.begun(len(DATA))

    async with Line.patch(tus, upload, 0, len(DATA), Upload_Checksum="sha1 " + "A" * 27 + "=") as line:
        await line.send(DATA[:200_000])
        await until(lambda: leased(tus))
        await asyncio.sleep(0.1)
    assert (await tus.head(upload)).offset == 0
    assert (await tus.patch(upload, 0, DATA)).status == 204
    assert await tus.content(upload) == DATA


@pytest.mark.parametrize("where", ["same process", "another"])
async def test_a_second_request_ends_the_first(
    tus: Tus, second: Upload, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "BEAT", 0.2)
    object.__setattr__(tus.who.service.app.state.services, "idle_seconds", 30.0)  # silence is not what ends the first
    other = at(second, tus) if where == "another" else tus
    upload = await tus.begun(len(DATA))
    async with Line.patch(tus, upload, 0, len(DATA)) as line:
        await line.send(DATA[:200_000])
        await until(lambda: leased(tus))
        await asyncio.sleep(0.1)
        late = await other.patch(upload, 0, DATA)
        assert (late.status, late.offset) == (409, 200_000)
        assert await line.status() == 409
    assert (await other.patch(upload, 200_000, DATA[200_000:])).status == 204
    assert await tus.content(upload) == DATA


async def test_processes_take_turns_and_the_whole_is_hashed_once_more(tus: Tus, second: Upload) -> None:
    other, upload = at(second, tus), await tus.begun(len(DATA))
    for start in range(0, len(DATA), 64_000):
        answer = await (tus, other)[start // 64_000 % 2].patch(upload, start, DATA[start : start + 64_000])
        assert answer.status == 204
    _, file, _ = await tus.who.call("GET", f"/api/storage/files/{upload}")
    assert file["sha256"] == hashlib.sha256(DATA).hexdigest()


async def test_many_at_once_and_one_file(tus: Tus, second: Upload) -> None:
    """Impatient clients on one upload from both sides: every byte once, whoever brought it."""
    clients = [tus, at(second, tus)] * 4
    upload = await tus.begun(len(DATA))

    async def push(client: Tus) -> None:
        while (offset := (await client.head(upload)).offset) < len(DATA):
            answer = await client.patch(upload, offset, DATA[offset : offset + 50_000])
            assert answer.status in {204, 409, 423}, answer

    async with asyncio.timeout(60):
        await asyncio.gather(*(push(client) for client in clients))
    assert await tus.content(upload) == DATA
    account = await tus.who.service.account(tus.who.tenant)
    assert (account["used"], account["reserved"], account["files"]) == (len(DATA), 0, 1)
    assert len(tus.who.service.blobs()) == 1


async def test_a_lease_lost_writes_nothing(tus: Tus) -> None:
    """As if this process had slept: by the time it saves, the upload is another's."""
    upload = await tus.begun(len(DATA))
    async with Line.patch(tus, upload, 0, 100_000) as line:
        await line.send(DATA[:50_000])
        await until(lambda: leased(tus))
        await _sql(tus, "UPDATE resumable_upload SET lease = gen_random_uuid()")
        await line.send(DATA[50_000:100_000])
        assert await line.status() == 409
    assert (await tus.rows())[0]["upload_offset"] == 0
    await _sql(tus, "UPDATE resumable_upload SET beat = now() - interval '1 minute'")
    assert (await tus.patch(upload, 0, DATA)).status == 204
    assert await tus.content(upload) == DATA


async def test_two_processes_never_write_into_one_file(tus: Tus, second: Upload) -> None:
    """The first sleeps with the file open and its lease gone stale; the second is refused until it wakes."""
    other = at(second, tus)
    await tus.who.quota()
    await _sql(tus, "UPDATE tenant_storage SET limit_bytes = NULL")
    upload = await tus.begun(10_000_000)
    async with Line.patch(tus, upload, 0, 5_000_000) as line:
        await line.send(b"x" * 3_000_000)
        await until(lambda: leased(tus))
        await asyncio.sleep(0.2)
        await _sql(tus, "UPDATE resumable_upload SET lease = NULL")
        refused = await other.patch(upload, 0, BytesIO(b"y" * 2_000_000))
        assert (refused.status, refused.code) == (503, "store_unavailable")

    async def accepted() -> bool:
        return (await other.patch(upload, 0, BytesIO(b"y" * 2_000_000))).status == 204

    await until(accepted)  # as soon as the first has noticed that its client is gone


async def test_a_stopping_process_keeps_what_came_and_says_come_again(service: Upload, billing: Billing) -> None:
    settings = settings_for(service.dsn.app, service.root, billing.url)
    app = create(settings)
    async with aiohttp.ClientSession() as http:
        running = serving(app, settings)
        await anext(running)
        tus = Tus(
            Customer(Upload(settings.base_url, app, service.dsn, service.root, settings, http), *_someone(service))
        )
        upload = await tus.begun(len(DATA))
        async with Line.patch(tus, upload, 0, len(DATA)) as line:
            await line.send(DATA[:200_000])
            await until(lambda: leased(tus))
            await asyncio.sleep(0.1)
            ending = asyncio.ensure_future(anext(running, None))
            assert await line.status() == 503
            await ending
    again = at(service, tus)
    assert (await again.head(upload)).offset == 200_000
    assert (await again.patch(upload, 200_000, DATA[200_000:])).status == 204
    assert await again.content(upload) == DATA


async def test_what_expires_is_gone_with_its_bytes(tus: Tus, service: Upload) -> None:
    upload, part = await tus.begun(len(DATA)), await tus.begun(3, Upload_Concat="partial")
    await tus.patch(upload, 0, DATA[:1000])
    await tus.patch(part, 0, b"abc")
    busy = await tus.begun(3)
    kept = await tus.begun(3)
    async with Line.patch(tus, busy, 0, 3):
        await until(lambda: leased(tus))
        await _sql(tus, f"UPDATE resumable_upload SET expires_at = now() WHERE id != '{kept}'")
        head = await tus.head(upload)
        assert head.status == 410
        assert (await tus.patch(upload, 1000, b"x")).code == "upload_expired"
        assert (await tus.delete(upload)).code == "upload_expired"
        database, locations = Database(service.dsn.worker), open_locations(service.settings)
        async with database:
            await ResumableExpiry(database, locations).run()
        await locations.close()
    assert {str(row["id"]) for row in await tus.rows()} == {busy, kept}
    assert service.blobs() == []
    assert (await tus.head(upload)).status == 404


async def test_life_is_prolonged_by_what_comes(tus: Tus) -> None:
    upload = await tus.begun(len(DATA))
    before = (await tus.rows())[0]["expires_at"]
    await tus.patch(upload, 0, DATA[:1000])
    after = (await tus.rows())[0]["expires_at"]
    assert (after - before).total_seconds() > 80_000
    held = await query(tus.who.service.dsn.superuser, "SELECT expires_at FROM reservation WHERE id = $1", upload)
    assert held[0]["expires_at"] >= after


@pytest.mark.parametrize("length", [None, 400_000, len(DATA)])
async def test_a_creation_that_breaks_off_leaves_nothing(tus: Tus, service: Upload, length: int | None) -> None:
    framing = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
    said = {"Upload-Length": str(len(DATA)), "Upload-Metadata": metadata()}
    await tus.who.quota()  # makes the account
    async with Line(tus, "POST", PATH, **said, **framing) as line:
        await line.send((b"493e0\r\n" if length is None else b"") + DATA[:300_000])
        await until(lambda: _holds(tus))
    await until(lambda: _holds(tus, nothing=True))
    assert service.blobs() == []
    assert await tus.rows() == []


def _someone(service: Upload) -> tuple[Any, Any]:
    someone = service.customer()
    return someone.tenant, someone.user


async def _holds(tus: Tus, *, nothing: bool = False) -> bool:
    return (await tus.held() == 0) == nothing


async def _sql(tus: Tus, statement: str) -> None:
    await query(tus.who.service.dsn.superuser, statement)
