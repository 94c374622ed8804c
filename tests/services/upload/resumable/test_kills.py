"""Two processes of the service on one database and one disk, killed again and again under many uploads in pieces."""

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from deploy.local.ports import free_port
from services.upload.blobs.open import open_locations
from services.upload.findings.orphans import Orphans
from services.upload.quota.expiry import Expiry
from services.upload.resumable.expiry import ResumableExpiry
from services.upload.settings import Settings
from shared.db import Database
from shared.security import Principal, sign
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query
from tests.services.upload.conftest import LIMIT, SECRET, Billing
from tests.services.upload.resumable.conftest import BYTES, PATH, VERSION, metadata

ROOT = Path(__file__).resolve().parents[4]
KILLS = 6
LIFETIME = 5  # seconds a reservation lives without bytes


@dataclass
class Process:
    """`python -m services.upload.main`, always started again."""

    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    running: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, **told: str) -> None:
        environment = {**os.environ, **self.environment, "PORT": str(self.port), **told}
        self.running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.upload.main", cwd=ROOT, env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        async with aiohttp.ClientSession() as session, asyncio.timeout(30):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        assert self.running is not None
        with contextlib.suppress(ProcessLookupError):
            self.running.send_signal(signal.SIGKILL)
        await self.running.wait()

    async def died(self) -> None:
        assert self.running is not None
        async with asyncio.timeout(20):
            assert await self.running.wait() == -signal.SIGKILL


@dataclass
class World:
    dsn: ServiceDatabase
    root: Path
    processes: list[Process]
    tenant: UUID
    http: aiohttp.ClientSession

    @property
    def token(self) -> str:
        who = Principal(kind="user", user_id=uuid4(), tenant_id=self.tenant, tenant_slug="t", role="owner")
        return sign(who, secret=SECRET, audience="upload", issuer="gateway", lifetime=600)

    async def call(self, url: str, method: str, path: str, data: Any = None, **said: str) -> Any:
        """Status and headers, or None when the process died over it."""
        headers = {"stowage-internal": self.token, **VERSION, **said}
        try:
            async with asyncio.timeout(15), self.http.request(method, url + path, data=data, headers=headers) as answer:
                await answer.read()
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def account(self) -> dict[str, int]:
        rows = await query(self.dsn.superuser, "SELECT * FROM tenant_storage WHERE tenant_id = $1", self.tenant)
        return dict(rows[0])


@pytest.fixture
async def world(pg: PostgresServer, billing: Billing, tmp_path: Path) -> AsyncIterator[World]:
    dsn = pg.create("upload")
    environment = {
        "MODE": "local",
        "DATABASE_URL": dsn.app,
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "INTERNAL_SECRET": SECRET,
        "SIGNING_SECRET": "k" * 40,
        "BASE_URL": "http://127.0.0.1:1",
        "BILLING_URL": billing.url,
        "LOCAL_STORAGE_PATH": str(tmp_path / "store"),
        "RESERVATION_SECONDS": str(LIFETIME),
        "RESUMABLE_SECONDS": str(LIFETIME * 2),
    }
    processes = [Process(environment), Process(environment)]
    await asyncio.gather(*(process.start() for process in processes))
    async with aiohttp.ClientSession() as http:
        yield World(dsn, tmp_path / "store", processes, uuid4(), http)
    await asyncio.gather(*(process.kill() for process in processes))


@dataclass
class Uploader:
    """Sends one file in small pieces, to either process, and goes on where the service says."""

    world: World
    chance: random.Random
    stored: dict[str, bytes] = field(default_factory=dict)
    refused: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.chance.choice(self.world.processes).url

    async def send(self, content: bytes) -> str | None:
        """The file's id; None when it was refused for want of space."""
        while True:
            made = await self._create(content)
            if made == "refused":
                self.refused.append(len(content))
                return None
            if made is not None and await self._fill(made, content):
                self.stored[made] = content
                return made

    async def _create(self, content: bytes) -> str | None:
        answer = await self.world.call(
            self.url, "POST", PATH, **{"Upload-Length": str(len(content)), "Upload-Metadata": metadata()}
        )
        if answer is None or answer.status >= 500:
            await asyncio.sleep(0.05)
            return None
        assert answer.status in {201, 413}, answer.status
        return "refused" if answer.status == 413 else str(answer.headers["location"]).rsplit("/", 1)[1]

    async def _fill(self, upload: str, content: bytes) -> bool:
        """False when the service knows nothing of it any more."""
        offset = 0
        while True:
            piece = content[offset : offset + 20_000]
            answer = await self.world.call(
                self.url, "PATCH", f"{PATH}/{upload}", piece, **{"Upload-Offset": str(offset), **BYTES}
            )
            if answer is not None and answer.status == 204:
                offset = int(answer.headers["upload-offset"])
                if offset == len(content):
                    return True
                continue
            if answer is not None and answer.status in {404, 410}:
                return False
            assert answer is None or answer.status in {409, 423, 500, 503}, answer.status
            await asyncio.sleep(0.05)
            head = await self.world.call(self.url, "HEAD", f"{PATH}/{upload}")
            if head is not None and head.status in {404, 410}:
                return False
            if head is not None and head.status == 200:
                offset = int(head.headers["upload-offset"])
                if "x-file-id" in head.headers:
                    return True


@pytest.mark.alone
async def test_small_pieces_of_many_uploads_under_kills(world: World) -> None:
    chance = random.Random(5)
    (await world.call(world.processes[0].url, "GET", "/api/storage/quota")).raise_for_status()
    uploaders = [Uploader(world, random.Random(n)) for n in range(12)]
    highest, stop = 0, False

    async def watch() -> None:
        nonlocal highest
        while not stop:
            account = await world.account()
            highest = max(highest, account["used"] + account["reserved"])
            await asyncio.sleep(0.01)

    async def kill() -> None:
        for number in range(KILLS):
            await asyncio.sleep(chance.random() * 0.5)
            process = world.processes[number % 2]
            await process.kill()
            await process.start()

    async def work(uploader: Uploader) -> None:
        for _ in range(5):
            await uploader.send(uploader.chance.randbytes(uploader.chance.choice([1, 9_000, 20_000, 70_000])))

    watching = asyncio.create_task(watch())
    killing = asyncio.create_task(kill())
    async with asyncio.timeout(100):
        await asyncio.gather(*(work(uploader) for uploader in uploaders))
        await killing
    await _expire(world)
    stored = {file: content for uploader in uploaders for file, content in uploader.stored.items()}
    refused = [size for uploader in uploaders for size in uploader.refused]
    account = await world.account()
    # Files whose sender never heard of them are the sender's to find: they count all the same.
    files = await query(world.dsn.superuser, "SELECT id, path, size, sha256 FROM stored_file")
    assert account["used"] == sum(row["size"] for row in files)
    assert (account["reserved"], account["files"]) == (0, len(files))
    by_id = {str(row["id"]): row for row in files}
    for file, content in stored.items():
        assert by_id[file]["sha256"] == hashlib.sha256(content).hexdigest()
        assert (world.root / "blobs" / by_id[file]["path"]).read_bytes() == content
    blobs = {str(path.relative_to(world.root / "blobs")) for path in world.root.rglob("blobs/**/*") if path.is_file()}
    assert blobs == {row["path"] for row in files}
    ledger = await query(world.dsn.superuser, "SELECT sum(delta)::bigint AS sum FROM storage_transaction")
    assert ledger[0]["sum"] == account["used"]
    # What exactly fits is taken, whatever came before, and a byte more is not.
    left = LIMIT - account["used"]
    last = Uploader(world, chance)
    assert await last.send(b"x" * (left + 1)) is None
    assert await last.send(b"x" * left) is not None
    stop = True
    await watching
    assert highest <= LIMIT
    assert (await world.account())["used"] == LIMIT
    print(f"\n{len(files)} files, {len(refused)} refused, {KILLS} kills")  # noqa: T201 - what was measured


@pytest.mark.parametrize("step", ["upload.checkpointed", "upload.placed", "upload.settled"])
async def test_killed_at_a_step_the_upload_goes_on_where_its_bytes_are_safe(world: World, step: str) -> None:
    first, second = world.processes
    content = os.urandom(90_000)
    await first.kill()
    await first.start(FAULT=f"{step}:{2 if step == 'upload.checkpointed' else 1}")
    said = {"Upload-Length": str(len(content)), "Upload-Metadata": metadata()}
    made = await world.call(first.url, "POST", PATH, **said)
    upload = str(made.headers["location"]).rsplit("/", 1)[1]
    for start in (0, 30_000, 60_000):
        piece = content[start : start + 30_000]
        answer = await world.call(
            first.url, "PATCH", f"{PATH}/{upload}", piece, **{"Upload-Offset": str(start), **BYTES}
        )
        if answer is None:
            break
    await first.died()
    head = await world.call(second.url, "HEAD", f"{PATH}/{upload}")
    assert head.status == 200
    offset = int(head.headers["upload-offset"])
    assert offset == (60_000 if step == "upload.checkpointed" else 90_000)
    if offset < len(content):
        answer = await world.call(
            second.url, "PATCH", f"{PATH}/{upload}", content[offset:], **{"Upload-Offset": str(offset), **BYTES}
        )
        assert answer.status == 204
        head = await world.call(second.url, "HEAD", f"{PATH}/{upload}")
    assert head.headers["x-file-id"] == upload
    rows = await query(world.dsn.superuser, "SELECT size, sha256, path FROM stored_file")
    assert [(row["size"], row["sha256"]) for row in rows] == [(90_000, hashlib.sha256(content).hexdigest())]
    account = await world.account()
    assert (account["used"], account["reserved"], account["files"]) == (90_000, 0, 1)
    assert [path.name for path in world.root.rglob("*") if path.is_file()] == [rows[0]["path"].rsplit("/", 1)[1]]


async def _expire(world: World) -> None:
    """What the worker's jobs do, once nobody comes back for what the kills left."""
    settings = Settings(
        mode="local",
        port=1,
        database_url=world.dsn.worker,
        kafka_bootstrap="127.0.0.1:1",
        internal_secret=SECRET,
        base_url="http://127.0.0.1:1",
        billing_url="http://127.0.0.1:1",
        local_storage_path=world.root,
        signing_secret="k" * 40,
    )
    locations, database = open_locations(settings), Database(world.dsn.worker)
    async with database, asyncio.timeout(LIFETIME * 6):
        while True:
            await ResumableExpiry(database, locations).run()
            await Expiry(database).run()
            if (await world.account())["reserved"] == 0:
                break
            await asyncio.sleep(0.5)
        await asyncio.sleep(LIFETIME)
        orphans = Orphans(database, locations, settled_after=LIFETIME - 1, grace=0)
        await orphans.run()
        await orphans.run()  # what was found has ripened
    await locations.close()
