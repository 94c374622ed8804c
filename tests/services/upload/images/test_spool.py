"""What waits outside the store waits where SPOOL_PATH says, also on the local disk's backend."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import pytest

from services.upload.files import repository
from services.upload.images.source import fetched
from services.upload.main import create
from tests.fixtures.postgres import PostgresServer
from tests.services.upload.conftest import Billing, Upload, serving, settings_for
from tests.services.upload.images.conftest import Photographer, picture


@pytest.fixture
async def spooling(pg: PostgresServer, tmp_path: Path, billing: Billing) -> AsyncIterator[Upload]:
    """Whose spool is `spool/here`, which is not there before it starts."""
    dsn = pg.create("upload")
    settings = settings_for(dsn.app, tmp_path / "store", billing.url, spool_path=tmp_path / "spool" / "here")
    app = create(settings)
    async with aiohttp.ClientSession() as http:
        async for server in serving(app, settings):
            yield Upload(settings.base_url, app, dsn, tmp_path / "store", settings, http, server)


def opened_in(folder: Path | None) -> list[str]:
    """Unnamed files of that folder, in this process."""
    links = []
    for number in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(number.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    return [link for link in links if link.startswith(f"{folder}/")]


async def test_an_image_that_loses_its_location(spooling: Upload) -> None:
    who = Photographer(spooling, uuid4(), uuid4())
    content, seen = picture(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="strip_location"\r\n\r\ntrue\r\n'
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + content[:100]
        async with asyncio.timeout(10):
            while not opened_in(spooling.settings.spool_path):
                await asyncio.sleep(0.01)
        seen.set()
        yield content[100:] + b"\r\n--b--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    status, _, _ = await who.call("POST", "/api/images/upload", data=body(), headers=kind)
    assert (status, seen.is_set()) == (201, True)
    assert opened_in(spooling.settings.spool_path) == []


@pytest.mark.parametrize(("kind", "copies"), [("TIFF", 1), ("PNG", 0)])
async def test_an_image_that_is_looked_at(
    spooling: Upload, monkeypatch: pytest.MonkeyPatch, kind: str, copies: int
) -> None:
    """On a disk of this machine it is not copied, but for the kind whose reader would not tell of a failing disk."""
    monkeypatch.setattr("services.upload.images.source.IN_MEMORY", 10)
    who = Photographer(spooling, uuid4(), uuid4())
    _, made = await who.send(picture(kind=kind))
    thumbnails = spooling.app.state.services.thumbnails
    async with thumbnails._database.transaction(who.tenant) as connection:
        file = await repository.find(connection, UUID(made["image_id"]))
    assert file is not None
    async with fetched(thumbnails._locations, file) as copy:
        assert len(opened_in(spooling.settings.spool_path)) == copies
        assert copy.read() == picture(kind=kind)
