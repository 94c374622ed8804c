"""A photo is to lose its location, and the process dies, or the store, or the database's answer: it is a file without
one in the end, or nothing, and no byte of what came is left.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.upload.blobs.store import StoreUnavailable
from services.upload.intake.acceptance import Acceptance
from services.upload.main import create
from services.upload.resumable.session import Sessions
from services.upload.upkeep import open_upkeep
from tests.fixtures.postgres import PostgresServer, query
from tests.services.upload.conftest import Billing, Customer, Upload, settings_for
from tests.services.upload.direct.clients import complete, offer, through_the_gateway
from tests.services.upload.images.photos import contains_place, photo
from tests.services.upload.process import Process, running
from tests.services.upload.resumable.conftest import PATH, Answer, Tus, metadata
from tests.services.upload.test_backends import clean, objects, prove

JPEG = photo("JPEG", quality=95)
SAID = {"Upload-Metadata": metadata(filename="a.jpg", filetype="image/jpeg", strip_location="true")}


async def agrees(who: Customer, billing: Billing, file: str) -> None:
    """A day later: one file, that does not say where; the store has its bytes and no others, and all sums say so."""
    await a_day_later(who.service, billing)
    status, kept, _ = await who.call("GET", f"/api/storage/files/{file}/content")
    assert (status, contains_place(kept)) == (200, False)
    shown = (await who.call("GET", f"/api/storage/files/{file}"))[1]
    await clean(who.service)
    assert await objects(who.service.settings) == {shown["file_path"]: len(kept)}
    quota = await who.quota()
    assert (quota["used"], quota["reserved"]) == (len(kept), 0)
    assert await prove(who) == {"bytes": len(kept), "files": 1}
    assert len(await who.service.ledger(who.tenant)) == 1


async def a_day_later(service: Upload, billing: Billing) -> None:
    for table in ("direct_upload", "resumable_upload", "reservation"):
        await query(service.dsn.superuser, f"UPDATE {table} SET expires_at = now() - interval '1 day'")
    await query(service.dsn.superuser, "UPDATE resumable_upload SET lease = NULL")
    settings = settings_for(service.dsn.worker, service.root, billing.url, reservation_seconds=5, orphan_seconds=0)
    async with open_upkeep(settings) as upkeep:
        for job in ("uploads", "direct-expired", "reservations"):
            await upkeep.jobs.run(job)


async def joined(tus: Tus) -> str:
    """The header that says which parts; they say nothing of a location."""
    parts = [
        await tus.create(len(part), part, **{"Upload-Concat": "partial", "Upload-Metadata": ""})
        for part in (JPEG[:1000], JPEG[1000:])
    ]
    return f"final;{' '.join(f'{PATH}/{part.id}' for part in parts)}"


async def die(process: Process, http: aiohttp.ClientSession, sending: Any) -> None:
    """Where it was told to; and it comes back."""
    with pytest.raises(aiohttp.ClientError):
        await sending
    await asyncio.to_thread(process.popen.wait, 20)
    process.start()
    await process.ready(http)


@asynccontextmanager
async def dying(
    pg: PostgresServer, billing: Billing, root: Path, place: str
) -> AsyncIterator[tuple[Process, Customer]]:
    dsn = pg.create("upload")
    settings = settings_for(dsn.app, root / "store", billing.url)
    async with aiohttp.ClientSession() as http, running(settings, http, FAULT=place) as process:
        process.environment = {name: value for name, value in process.environment.items() if name != "FAULT"}
        yield process, Upload(settings.base_url, create(settings), dsn, root / "store", settings, http).customer()


@pytest.mark.faults
@pytest.mark.parametrize("place", ["upload.checkpointed", "upload.placed", "upload.settled"])
@pytest.mark.parametrize("whole", [True, False])
async def test_in_pieces(pg: PostgresServer, billing: Billing, tmp_path: Path, place: str, whole: bool) -> None:
    """Whoever asks next finishes it. At once, the client has no address to ask at, and its upload expires."""
    if whole and place == "upload.checkpointed":
        place = "upload.placed"
    async with dying(pg, billing, tmp_path, place) as (process, ada):
        tus, http = Tus(ada), ada.service.http
        if whole:
            await die(process, http, tus.create(len(JPEG), JPEG, **SAID))
            (upload,) = [str(row["id"]) for row in await tus.rows()]
        else:
            upload = await tus.begun(len(JPEG), **SAID)
            await die(process, http, tus.patch(upload, 0, JPEG))
        answer = await tus.head(upload)
        assert (answer.status, answer.offset, answer.headers["x-file-id"]) == (200, len(JPEG), upload)
        await agrees(ada, billing, upload)


@pytest.mark.faults
@pytest.mark.parametrize("place", ["upload.placed", "upload.settled", "upload.joined"])
async def test_joined(pg: PostgresServer, billing: Billing, tmp_path: Path, place: str) -> None:
    """Asked again it is the same file."""
    async with dying(pg, billing, tmp_path, place) as (process, ada):
        tus = Tus(ada)
        wanted = {"Upload-Concat": await joined(tus), **SAID}
        await die(process, ada.service.http, tus.call("POST", PATH, **wanted))
        answer = await tus.call("POST", PATH, **wanted)
        assert answer.status == 201, answer
        assert not any(path.startswith("parts/") for path in await objects(ada.service.settings))
        await agrees(ada, billing, answer.headers["x-file-id"])


@pytest.mark.faults
@pytest.mark.parametrize("place", ["direct.copied", "direct.settled"])
async def test_direct(pg: PostgresServer, billing: Billing, tmp_path: Path, place: str) -> None:
    async with dying(pg, billing, tmp_path, place) as (process, ada):
        service = ada.service
        said = {"content_type": "image/jpeg", "file_name": "a.jpg", "strip_location": True}
        made = await offer(ada, len(JPEG), **said)
        headers = made["headers"] | through_the_gateway()
        async with service.http.put(made["url"], data=JPEG, headers=headers) as answer:
            assert answer.status == 204
        await die(process, service.http, complete(ada, made["upload_id"]))
        await query(service.dsn.superuser, "UPDATE direct_upload SET lease = now()")  # as if it were a minute later
        status, file, _ = await complete(ada, made["upload_id"])
        assert status == 200, file
        await agrees(ada, billing, file["file_id"])


def fail_once(patch: pytest.MonkeyPatch, owner: type, name: str, *, after: bool) -> None:
    """As a store or a database does whose answer does not come; `after`: what it was asked for it has done."""
    real, calls = getattr(owner, name), []

    async def fails(*given: Any, **said: Any) -> Any:
        calls.append(name)
        if len(calls) > 1 or after:
            result = await real(*given, **said)
        if len(calls) == 1:
            raise StoreUnavailable
        return result

    patch.setattr(owner, name, fails)


@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [(Acceptance, "settle", False), (Acceptance, "settle", True), (Sessions, "drop_part", False)],
    ids=["not settled", "settled unheard", "not tidied up"],
)
async def test_an_answer_that_does_not_come(
    service: Upload, billing: Billing, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, after: bool
) -> None:
    """The client is told to try again; a file that is one already is not taken away."""
    for way in ("pieces", "joined"):
        ada = service.customer()
        tus = Tus(ada)
        if way == "pieces":
            upload, concat = await tus.begun(len(JPEG), **SAID), ""
        else:
            upload, concat = "", await joined(tus)

        async def send(tus: Tus = tus, upload: str = upload, concat: str = concat) -> Answer:
            if upload:
                return await tus.patch(upload, 0, JPEG)
            return await tus.call("POST", PATH, **{"Upload-Concat": concat, **SAID})

        with monkeypatch.context() as patch:
            fail_once(patch, owner, name, after=after)
            assert (await send()).status == 503
            answer = await tus.head(upload) if upload else await send()
        assert answer.status in {200, 201}, answer
        file = answer.headers["x-file-id"]
        await agrees(ada, billing, file)
        assert (await ada.call("DELETE", f"/api/storage/files/{file}"))[0] == 204
        await clean(service)


async def test_one_that_is_never_finished_expires(
    service: Upload, billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = service.customer()
    tus = Tus(ada)
    upload = await tus.begun(len(JPEG), **SAID)
    fail_once(monkeypatch, Acceptance, "settle", after=False)
    assert (await tus.patch(upload, 0, JPEG)).status == 503
    assert list(await objects(service.settings)) == [f"parts/{ada.tenant}/{upload}"]
    assert (await ada.quota())["reserved"] == len(JPEG)
    await a_day_later(service, billing)
    assert await objects(service.settings) == {}
    assert (await ada.quota())["reserved"] == 0
    assert await service.ledger(ada.tenant) == []


async def test_terminated(service: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    tus = Tus(service.customer())
    upload = await tus.begun(len(JPEG), **SAID)
    fail_once(monkeypatch, Acceptance, "settle", after=False)
    assert (await tus.patch(upload, 0, JPEG)).status == 503
    assert (await tus.delete(upload)).status == 204
    assert await objects(service.settings) == {}
    assert await tus.held() == 0
