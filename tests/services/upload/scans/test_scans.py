"""A file from its upload to the verdict: the real service, the real queue, and the real daemon where it can be had."""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from services.upload.blobs.open import open_locations
from services.upload.entitlements.service import EntitlementService
from services.upload.main import create
from services.upload.quota.service import AccountService
from services.upload.quota.writer import AccountWriter
from services.upload.scans.open import open_scans
from services.upload.scans.service import ScanService
from services.upload.tasks.runner import TaskRunner
from services.upload.versions.service import VersionService
from shared.db import Database
from shared.http import ServiceClient
from tests.fixtures.parts import PartMissing, provide
from tests.fixtures.postgres import PostgresServer, query
from tests.services.upload.conftest import SECRET, Billing, Customer, Upload, serving, settings_for
from tests.services.upload.scans.daemon import EICAR, Clamd, StandIn, pieces

LIMIT = 80_000_000  # bytes
SCAN_LIMIT = 32_000_000
PLACE = "/api/storage/content/documents/file.bin"


@dataclass
class World:
    """The service, and a worker's tasks that run while `working`."""

    service: Upload
    scans: ScanService
    database: Database

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        running = asyncio.create_task(TaskRunner(self.database, {"scan": self.scans.scan}).run())
        yield
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def rows(self, sql: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await query(self.service.dsn.superuser, sql)]

    async def states(self) -> list[str]:
        return [row["state"] for row in await self.rows("SELECT state FROM stored_file ORDER BY created_at")]

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(30):
            while not await condition():
                await asyncio.sleep(0.05)

    async def until_states(self, *states: str) -> None:
        async def reached() -> bool:
            return await self.states() == list(states)

        await self.until(reached)

    async def until_idle(self) -> None:
        async def idle() -> bool:
            return not await self.rows("SELECT FROM file_task WHERE kind = 'scan'")

        await self.until(idle)


@asynccontextmanager
async def world(pg: PostgresServer, folder: Path, billing: Billing, url: str, **changes: Any) -> AsyncIterator[World]:
    billing.limit = LIMIT
    dsn = pg.create("upload")
    told = {"clamav_url": url, "scan_size_limit": SCAN_LIMIT, "idle_seconds": 20.0, **changes}
    settings = settings_for(dsn.app, folder / "store", billing.url, **told)
    async with aiohttp.ClientSession() as http, Database(dsn.worker) as database:
        client = ServiceClient(billing.url, SECRET, issuer="upload", audience="billing")
        writer = AccountWriter(database, on_commit=lambda: None)
        accounts = AccountService(database, writer, EntitlementService(database, client))
        scans = open_scans(settings, database, accounts, open_locations(settings))
        assert scans is not None
        app = create(settings)
        async for _ in serving(app, settings):
            service = Upload(settings.base_url, app, dsn, folder / "store", settings, http)
            yield World(service, scans, database)
        await client.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clamd | None]:
    """None where there is none to be had, and nobody insists: then the stand-in takes its place."""
    try:
        found = Clamd(provide("clamd"), tmp_path_factory.mktemp("clamd"))
    except PartMissing:
        assert not os.environ.get("REQUIRE_PARTS"), "clamd cannot be had here"
        yield None
        return
    found.start()
    yield found
    found.stop()


@pytest.fixture
async def scanner(daemon: Clamd | None) -> AsyncIterator[str]:
    if daemon is not None:
        yield daemon.url
        return
    async with StandIn() as stand_in:
        yield stand_in.url


@pytest.fixture
async def scanned(pg: PostgresServer, tmp_path: Path, billing: Billing, scanner: str) -> AsyncIterator[World]:
    async with world(pg, tmp_path, billing, scanner) as found:
        yield found


async def put(who: Customer, content: bytes, path: str = PLACE) -> tuple[int, Any]:
    headers = {"content-type": "application/octet-stream"}
    return (await who.call("PUT", path, data=io.BytesIO(content), headers=headers))[:2]


async def reports(who: Customer, query: str = "") -> list[dict[str, Any]]:
    return (await who.call("GET", f"/api/storage/scans{query}"))[1]["items"]  # type: ignore[no-any-return]


async def listed(who: Customer) -> list[str]:
    return [file["file_id"] for file in (await who.call("GET", "/api/storage/files"))[1]["items"]]


async def test_hidden_until_it_is_clean(scanned: World) -> None:
    ada = scanned.service.customer()
    status, made = await ada.upload(b"harmless")
    assert (status, made["state"]) == (201, "scanning")
    assert await listed(ada) == []
    assert (await ada.quota())["used"] == 8
    async with scanned.working():
        await scanned.until_states("ready")
        await scanned.until_idle()
    assert await listed(ada) == [made["file_id"]]
    (report,) = await reports(ada)
    assert (report["file_id"], report["verdict"], report["sha256"]) == (made["file_id"], "clean", made["sha256"])
    assert await reports(scanned.service.customer()) == []


@pytest.mark.parametrize("size", [0, 30_000_000])
@pytest.mark.parametrize("raw", [False, True])
async def test_what_is_infected_goes_and_leaves_a_report(scanned: World, size: int, raw: bool) -> None:
    ada = scanned.service.customer()
    content = bytes(size) + EICAR + bytes(size // 100)
    status, made = await put(ada, content) if raw else await ada.upload(content, name="bad.bin")
    assert (status, made["state"]) == (201, "scanning")
    async with scanned.working():
        await scanned.until_states()
        await scanned.until_idle()
    assert (await ada.quota())["used"] == 0
    assert (await ada.call("GET", f"/api/storage/files/{made['file_id']}"))[0] == 404
    entries = await scanned.service.ledger(ada.tenant)
    assert [(entry["action"], entry["delta"]) for entry in entries] == [
        ("upload", len(content)),
        ("delete", -len(content)),
    ]
    assert len(await scanned.rows("SELECT FROM blob_garbage")) == 1
    (report,) = await reports(ada, "?verdict=infected")
    assert (report["file_id"], report["file_name"]) == (made["file_id"], made["file_name"])
    assert "Eicar" in report["signature"]
    assert await reports(ada, "?verdict=clean") == []


async def test_what_the_scanner_cannot_take_is_blocked_and_counted(scanned: World) -> None:
    ada = scanned.service.customer()
    _, made = await put(ada, bytes(SCAN_LIMIT + 1))
    async with scanned.working():
        await scanned.until_states("blocked")
        await scanned.until_idle()
    assert await listed(ada) == []
    assert (await ada.quota())["used"] == SCAN_LIMIT + 1
    (report,) = await reports(ada)
    assert (report["file_id"], report["verdict"]) == (made["file_id"], "too_large")
    assert (await ada.call("DELETE", f"/api/storage/files/{made['file_id']}"))[0] == 204


async def test_or_passes_where_that_is_wanted_and_is_reported(
    pg: PostgresServer, tmp_path: Path, billing: Billing, scanner: str
) -> None:
    async with world(pg, tmp_path, billing, scanner, scan_size_limit=100, scan_oversize="pass") as found:
        ada = found.service.customer()
        await ada.upload(b"x" * 101)
        async with found.working():
            await found.until_states("ready")
        assert [report["verdict"] for report in await reports(ada)] == ["too_large"]


async def test_while_the_scanner_is_away_files_wait(
    pg: PostgresServer, tmp_path: Path, billing: Billing, daemon: Clamd | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if daemon is None:
        pytest.skip("only the real daemon is stopped and started; the stand-in's troubles are in test_clamav.py")
    monkeypatch.setattr("services.upload.tasks.runner.pause", _soon)
    async with world(pg, tmp_path, billing, daemon.url) as found:
        ada = found.service.customer()
        daemon.stop()
        await ada.upload(b"harmless")
        await ada.upload(EICAR)
        async with found.working():

            async def tried() -> bool:
                rows = await found.rows("SELECT attempts, error FROM file_task")
                return len(rows) == 2 and all(row["attempts"] > 1 and row["error"] for row in rows)

            await found.until(tried)
            assert await found.states() == ["scanning", "scanning"]
            assert await reports(ada) == []
            assert await listed(ada) == []
            await asyncio.to_thread(daemon.start)
            await found.until_states("ready")
            await found.until_idle()
        assert sorted(report["verdict"] for report in await reports(ada)) == ["clean", "infected"]


async def test_errors_let_nothing_through(
    pg: PostgresServer, tmp_path: Path, billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.upload.tasks.runner.pause", _soon)
    answers = [b"stream: Can't allocate memory ERROR\0", b"", b"stream: O", b"stream: OK\0"]

    async def moody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await pieces(reader)
        writer.write(answers.pop(0))

    async with StandIn(moody) as stand_in, world(pg, tmp_path, billing, stand_in.url) as found:
        await found.service.customer().upload(b"x")
        async with found.working():
            await found.until_states("ready")
    assert answers == []


async def test_a_picture_is_looked_at_when_it_is_clean(scanned: World) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    await put(scanned.service.customer(), buffer.getvalue(), "/api/storage/content/documents/a.png")
    assert [row["kind"] for row in await scanned.rows("SELECT kind FROM file_task")] == ["scan"]
    async with scanned.working():
        await scanned.until_states("ready")
        await scanned.until_idle()
    assert [row["kind"] for row in await scanned.rows("SELECT kind FROM file_task")] == ["image"]


async def test_a_file_replaced_while_it_is_scanned_is_judged_by_its_new_content(
    pg: PostgresServer, tmp_path: Path, billing: Billing
) -> None:
    """Neither does the old verdict uncover the new content, nor does it delete it."""
    ada: Customer | None = None
    seen: list[bytes] = []

    async def replacing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await pieces(reader))
        assert ada is not None
        nexts = {b"clean": EICAR, EICAR: b"good"}
        if seen[-1] in nexts:
            await put(ada, nexts[seen[-1]])
        writer.write(b"stream: Eicar FOUND\0" if EICAR in seen[-1] else b"stream: OK\0")

    async with StandIn(replacing) as stand_in, world(pg, tmp_path, billing, stand_in.url) as found:
        ada = found.service.customer()
        await put(ada, b"clean")
        async with found.working():
            await found.until_states("ready")
            await found.until_idle()
        assert seen == [b"clean", EICAR, b"good"]
        assert (await ada.quota())["used"] == 4


@pytest.mark.parametrize("kept", [0, 1])
async def test_what_replaces_a_file_and_is_infected_gives_way_to_it(scanned: World, kept: int) -> None:
    ada = scanned.service.customer()
    await ada.call("PUT", "/api/storage/settings", json={"versions_kept": kept})
    _, made = await put(ada, b"clean")
    content = f"/api/storage/files/{made['file_id']}/content"
    async with scanned.working():
        await scanned.until_idle()
        for bad in (EICAR, EICAR + b" "):  # at its place, and by its id
            status, replaced, _ = await ada.call("PUT", PLACE if bad is EICAR else content, data=bad)
            assert (status, replaced["file_id"]) == (200, made["file_id"])
            await scanned.until_idle()
            status, body, headers = await ada.call("GET", content)
            assert (status, body, headers["etag"]) == (200, b"clean", f'"{made["sha256"]}"')
    assert await listed(ada) == [made["file_id"]]
    assert (await ada.quota())["used"] == 5
    assert len(await scanned.rows("SELECT FROM stored_file")) == 1
    assert [report["verdict"] for report in await reports(ada)] == ["infected", "infected", "clean"]
    assert sum(entry["delta"] for entry in await scanned.service.ledger(ada.tenant)) == 5


async def test_what_replaces_a_file_and_is_clean_sets_it_free(scanned: World) -> None:
    """Until then both are stored and both count."""
    ada = scanned.service.customer()
    _, made = await put(ada, b"old")
    async with scanned.working():
        await scanned.until_idle()
    _, replaced = await put(ada, b"newer")
    assert (replaced["quota"]["used"], replaced["state"]) == (8, "scanning")
    async with scanned.working():
        await scanned.until_idle()
    assert (await ada.call("GET", f"/api/storage/files/{made['file_id']}/content"))[1] == b"newer"
    assert (await ada.quota())["used"] == 5


async def test_what_waits_for_a_scan_keeps_what_it_replaced_from_being_trimmed(scanned: World) -> None:
    ada = scanned.service.customer()
    await put(ada, b"old")
    async with scanned.working():
        await scanned.until_idle()
    await put(ada, EICAR)
    accounts, entitlements = scanned.scans._accounts, scanned.scans._accounts._entitlements
    assert await VersionService(scanned.database, accounts, entitlements).trim() == 0
    async with scanned.working():
        await scanned.until_idle()
    assert (await ada.quota())["used"] == 3


async def test_a_replacement_that_is_to_be_scanned_needs_room_for_both(scanned: World, billing: Billing) -> None:
    billing.limit = 10
    ada = scanned.service.customer()
    await put(ada, b"123456")
    status, refused = await put(ada, b"12345")
    assert (status, refused["code"]) == (413, "quota_exceeded")
    assert (await put(ada, b"1234"))[0] == 200


async def test_a_waiting_file_without_a_task_gets_one(scanned: World) -> None:
    await scanned.service.customer().upload(b"x")
    await scanned.rows("DELETE FROM file_task")
    await scanned.scans.resume()
    async with scanned.working():
        await scanned.until_states("ready")


async def test_reports_come_in_pages(scanned: World) -> None:
    ada = scanned.service.customer()
    made = [(await ada.upload(b"%d" % n))[1]["file_id"] for n in range(5)]
    async with scanned.working():
        await scanned.until_states(*["ready"] * 5)
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await ada.call("GET", f"/api/storage/scans?limit=2{cursor}"))[1]
        seen += [report["file_id"] for report in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(seen) == sorted(made)
    assert (await ada.call("GET", "/api/storage/scans?cursor=AAAA"))[0] == 422
    assert (await ada.call("GET", "/api/storage/scans?verdict=maybe"))[0] == 422


def _soon(_: int) -> timedelta:
    return timedelta(seconds=0.3)
