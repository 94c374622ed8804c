"""A store in trouble behind the service: a clear answer, the space given back, nothing half-visible, nothing left."""

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from services.upload.main import create
from tests.fixtures.postgres import PostgresServer, query
from tests.fixtures.stores import KINDS, ObjectServer, told
from tests.fixtures.trouble import Troublemaker
from tests.services.upload.conftest import Billing, Upload, serving, settings_for
from tests.services.upload.test_backends import clean, objects

MIB = 1024 * 1024
SECONDS = 3.0  # how long the store is asked again; one that says nothing is left after a third of it
Troubled = tuple[Upload, Troublemaker]


@pytest.fixture
async def troubled(
    pg: PostgresServer, tmp_path: Path, billing: Billing, s3_server: ObjectServer
) -> AsyncIterator[Troubled]:
    """The service on an S3 store, with a troublemaker between them."""
    billing.limit, dsn = 10**9, pg.create("upload")
    async with Troublemaker(s3_server.url).running() as proxy, aiohttp.ClientSession() as http:
        where = told("s3", s3_server, f"test-{uuid4().hex[:12]}", proxy.url)
        settings = settings_for(dsn.app, tmp_path / "store", billing.url, store_seconds=SECONDS, **where)
        app = create(settings)
        async for _ in serving(app, settings):
            service = Upload(settings.base_url, app, dsn, tmp_path / "store", settings, http)
            await until_ready(service)
            yield service, proxy


async def until_ready(service: Upload) -> None:
    """Whoever asks whether it is ready asks again: the store gets one attempt each time, and it may be busy."""
    async with asyncio.timeout(30):
        while True:
            async with service.http.get(f"{service.url}/readyz") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("trouble", "status", "code"),
    [("500", 503, "store_unavailable"), ("503", 503, "store_unavailable"),
     ("reset", 503, "store_unavailable"), ("hang", 503, "store_unavailable"),
     ("full", 507, "store_full"), ("read-only", 507, "store_full")],
)  # fmt: skip
@pytest.mark.parametrize("size", [100, 9 * MIB])
async def test_refused_with_a_reason(troubled: Troubled, trouble: str, status: int, code: str, size: int) -> None:
    service, proxy = troubled
    ada = service.customer()
    assert (await ada.upload(b"before"))[0] == 201
    proxy.make(trouble)
    began = time.monotonic()
    said, refused = await ada.upload(os.urandom(size))
    assert (said, refused["code"]) == (status, code)
    assert time.monotonic() - began < SECONDS * 3
    quota = await ada.quota()
    assert (quota["used"], quota["reserved"]) == (6, 0)
    proxy.make(None)
    assert (await ada.upload(b"after"))[0] == 201
    await clean(service)
    rows = await query(service.dsn.superuser, "SELECT path, size FROM stored_file")
    assert await objects(service.settings) == {row["path"]: row["size"] for row in rows}


async def test_trouble_for_a_moment_is_not_noticed(troubled: Troubled) -> None:
    service, proxy = troubled
    ada = service.customer()
    for trouble in ("500", "503", "reset", "lost"):
        proxy.make(trouble, times=1)
        assert (await ada.upload(os.urandom(9 * MIB)))[0] == 201
    assert (await ada.quota())["used"] == 36 * MIB


async def test_readiness_tells(troubled: Troubled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.upload.blobs.wire.LATELY", 0.0)
    service, proxy = troubled
    for trouble in ("read-only", "reset"):
        proxy.make(trouble)
        async with service.http.get(f"{service.url}/readyz") as answer:
            assert answer.status == 503, trouble
            assert "store" in await answer.text()
        proxy.make(None)
        await until_ready(service)


@pytest.mark.parametrize("service", KINDS[:2], indirect=True)
async def test_a_full_disk_is_said(service: Upload, billing: Billing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the local store, or of the parts on their way to another."""
    billing.limit = 10**9
    ada, real, room = service.customer(), os.pwritev, 5 * MIB

    def pwritev(file: int, chunks: list[memoryview], offset: int) -> int:
        nonlocal room
        room -= sum(map(len, chunks))
        if room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, chunks, offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    status, refused = await ada.upload(os.urandom(9 * MIB))
    assert (status, refused["code"]) == (507, "store_full")
    monkeypatch.undo()
    async with asyncio.timeout(5):
        while (await ada.quota())["reserved"]:
            await asyncio.sleep(0.02)
    assert (await ada.quota())["used"] == 0
    assert await objects(service.settings) == {}
    assert service.blobs() == []
