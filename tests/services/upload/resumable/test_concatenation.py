"""Uploads made of parts: the space moves once, exactly."""

import asyncio
import hashlib
import os
from typing import Any
from uuid import UUID

import pytest

from services.upload.blobs.store import StoreUnavailable
from services.upload.resumable.concatenation import ConcatenationService
from services.upload.resumable.models import part_path
from services.upload.upkeep import Upkeep
from tests.fixtures.postgres import query
from tests.services.upload.conftest import LIMIT, Billing, Upload
from tests.services.upload.resumable.conftest import PATH, Answer, Tus, metadata


async def part(tus: Tus, content: bytes, *, whole: bool = True) -> str:
    answer = await tus.create(len(content), Upload_Concat="partial", Upload_Metadata="")
    assert answer.status == 201, answer
    if whole:
        done = await tus.patch(answer.id, 0, content)
        assert (done.status, done.offset) == (204, len(content))
        assert "x-file-id" not in done.headers
    return answer.id


async def join(tus: Tus, *parts: str, **said: str) -> Answer:
    addresses = " ".join(f"{PATH}/{upload}" for upload in parts)
    return await tus.call("POST", PATH, Upload_Concat=f"final;{addresses}", **{"Upload-Metadata": metadata(), **said})


async def test_parts_become_one_file(tus: Tus, service: Upload) -> None:
    contents = [b"a" * 100_000, b"b" * 50_000, b"c"]
    parts = [await part(tus, content) for content in contents]
    head = await tus.head(parts[0])
    assert (head.headers["upload-concat"], head.offset) == ("partial", 100_000)
    assert await tus.held() == 150_001
    answer = await join(tus, *parts)
    assert (answer.status, answer.headers["x-file-id"]) == (201, answer.id)
    assert await tus.content(answer.id) == b"".join(contents)
    _, file, _ = await tus.who.call("GET", f"/api/storage/files/{answer.id}")
    assert file["sha256"] == hashlib.sha256(b"".join(contents)).hexdigest()
    account = await service.account(tus.who.tenant)
    assert (account["used"], account["reserved"], account["files"]) == (150_001, 0, 1)
    assert len(service.blobs()) == 1
    head = await tus.head(answer.id)
    assert head.headers["upload-concat"].startswith("final;")
    assert (await tus.patch(answer.id, 0, b"x")).code == "final_upload"
    assert (await tus.head(parts[0])).status == 404


async def test_a_final_that_fits_is_never_refused(tus: Tus, service: Upload) -> None:
    """The parts hold every byte there is; a second reservation of any size would not fit."""
    parts = [await part(tus, b"x" * (LIMIT // 4)) for _ in range(4)]
    assert await tus.held() == LIMIT

    async def greedy() -> set[int]:
        return {(await tus.create(1, b"!")).status for _ in range(40)}

    answer, statuses = await asyncio.gather(join(tus, *parts), greedy())
    assert answer.status == 201
    assert statuses == {413}
    account = await service.account(tus.who.tenant)
    assert (account["used"], account["reserved"]) == (LIMIT, 0)


async def test_asked_again_it_is_the_same(tus: Tus, service: Upload) -> None:
    parts = [await part(tus, b"x" * 1000), await part(tus, b"y" * 1000)]
    answers = await asyncio.gather(*(join(tus, *parts) for _ in range(4)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.headers["x-file-id"] for answer in answers}) == 1
    assert (await service.account(tus.who.tenant))["files"] == 1
    assert (await join(tus, *reversed(parts))).code == "upload_not_found"


async def test_what_is_no_part(tus: Tus, service: Upload) -> None:
    mine, unfinished = await part(tus, b"x" * 10), await part(tus, b"x" * 10, whole=False)
    ordinary = await tus.begun(10)
    stranger = Tus(service.customer())
    foreign = await part(stranger, b"secret")
    cases: list[tuple[tuple[str, ...], int, str]] = [
        ((mine, unfinished), 400, "upload_unfinished"),
        ((mine, ordinary), 400, "upload_not_partial"),
        ((mine, foreign), 404, "upload_not_found"),
        ((mine, "3f2b1c9a-0000-7000-8000-000000000000"), 404, "upload_not_found"),
        ((mine, mine), 400, "invalid_concat"),
    ]
    for parts, status, code in cases:
        answer = await join(tus, *parts)
        assert (answer.status, answer.code) == (status, code)
    assert (await join(tus, mine, Upload_Length="10")).code == "invalid_concat"
    assert (await join(tus, mine, Upload_Metadata="")).code == "invalid_file_name"
    assert (await join(tus, mine)).status == 201
    assert (await stranger.head(foreign)).offset == 6


async def test_a_refused_union_gives_back_what_its_parts_held(tus: Tus, service: Upload, billing: Billing) -> None:
    parts = [await part(tus, b"<html>" + b"x" * 994), await part(tus, b"y" * 1000)]
    # What is only said wrongly can be said again.
    for said in ({"Upload_Metadata": metadata(category="nowhere")}, {"Upload_Length": "1"}):
        assert (await join(tus, *parts, **said)).status in {400, 422}
    assert await tus.held() == 2000
    refused = await join(tus, *parts, **{"Upload-Metadata": metadata(filename="x.png", filetype="image/png")})
    assert (refused.status, refused.code) == (415, "type_mismatch")
    assert await tus.held() == 0
    assert service.blobs() == []
    assert [(await tus.head(each)).status for each in parts] == [404, 404]
    assert (await join(tus, *parts)).code == "upload_not_found"
    assert (await service.account(tus.who.tenant))["files"] == 0
    billing.max_file = 1000
    small = Tus(service.customer())
    parts = [await part(small, b"x" * 600), await part(small, b"y" * 600)]
    assert (await join(small, *parts)).code == "file_too_large"
    assert await small.held() == 0


async def test_parts_of_a_union_the_store_could_not_take_wait(tus: Tus, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [await part(tus, b"x" * 1000), await part(tus, b"y" * 1000)]

    async def away(*_: Any) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(ConcatenationService, "_copy", away)
        assert (await join(tus, *parts)).code == "store_unavailable"
    assert await tus.held() == 2000
    assert (await join(tus, *parts)).status == 201
    assert await tus.held() == 0


async def test_a_part_ends_like_any_upload(tus: Tus, service: Upload) -> None:
    finished, empty = await part(tus, b"x" * 10), await part(tus, b"")
    assert (await tus.head(empty)).offset == 0
    assert (await tus.delete(finished)).status == 204
    assert (await join(tus, finished, empty)).code == "upload_not_found"
    assert (await tus.delete(empty)).status == 204
    assert service.blobs() == []
    assert await tus.held() == 0


async def test_a_part_that_comes_with_its_creation(tus: Tus) -> None:
    answer = await tus.create(3, b"abc", Upload_Concat="partial", Upload_Metadata="")
    assert (answer.status, answer.offset) == (201, 3)
    assert (await tus.patch(answer.id, 3, b"")).status == 204
    final = await join(tus, answer.id)
    assert await tus.content(final.headers["x-file-id"]) == b"abc"


@pytest.mark.parametrize("died", ["copying", "settled"])
async def test_a_process_that_died_in_between(
    tus: Tus, service: Upload, monkeypatch: pytest.MonkeyPatch, died: str
) -> None:
    parts = [await part(tus, b"x" * 1000), await part(tus, b"y" * 1000)]
    name = "_copy" if died == "copying" else "_store"
    real: Any = getattr(ConcatenationService, name)

    async def dying(self: Any, *arguments: Any) -> None:
        await real(self, *arguments)
        raise RuntimeError("died")

    with monkeypatch.context() as patched:
        patched.setattr(ConcatenationService, name, dying)
        assert (await join(tus, *parts)).status == 500
    answer = await join(tus, *parts)
    assert answer.status == 201
    assert await tus.content(answer.headers["x-file-id"]) == b"x" * 1000 + b"y" * 1000
    account = await service.account(tus.who.tenant)
    assert (account["used"], account["reserved"], account["files"]) == (2000, 0, 1)
    assert len(service.blobs()) == 1


async def test_bytes_of_a_part_that_is_joined_go_though_a_process_died(
    tus: Tus, service: Upload, upkeep: Upkeep
) -> None:
    """Between the commit and the last deletion. A part that still waits keeps its bytes, however old they are."""
    joined, waiting = await part(tus, b"x" * 1000), await part(tus, b"y" * 1000)
    assert (await join(tus, joined)).status == 201
    left, kept = (service.root / "blobs" / part_path(tus.who.tenant, UUID(each)) for each in (joined, waiting))
    left.write_bytes(b"x" * 1000)
    for path in (left, kept):
        os.utime(path, (0, 0))
    await query(service.dsn.superuser, "DELETE FROM reservation")
    assert await upkeep.jobs.run("orphans") == {"found": 1, "removed": 1, "abandoned": 0}
    assert (left.exists(), kept.exists()) == (False, True)
