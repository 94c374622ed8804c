"""`python -m services.upload.imports` as an operator runs it: on a folder and on a bucket that others have filled."""

import asyncio
import hashlib
import io
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml
from minio import Minio

from services.upload.main import create
from tests.e2e.test_guide import BUCKETS, REPORT, example
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.stack import ROOT
from tests.fixtures.stores import ObjectServer
from tests.services.upload.conftest import Billing, Customer, Upload, beside, serving, settings_for


@dataclass
class Shop:
    """A service that knows the location `archive`, and a customer of it."""

    service: Upload
    billing: Billing
    locations: Path
    ada: Customer

    async def adopt(self, *more: str, fault: str = "") -> tuple[int, dict[str, Any]]:
        """Exit code, and what it says of itself."""
        environment = {**beside(self.service, self.billing), "STORAGE_LOCATIONS": str(self.locations), "FAULT": fault}
        said = ("--tenant", str(self.ada.tenant), "--location", "archive", *more)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.upload.imports",
            *said,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate()
        assert process.returncode is not None
        assert out or fault, errors.decode()
        return process.returncode, json.loads(out) if out else {}

    async def files(self) -> dict[str, dict[str, Any]]:
        items = (await self.ada.call("GET", "/api/storage/files"))[1]["items"]
        return {f"{item['folder']}/{item['file_name']}": item for item in items}

    async def content(self, file: dict[str, Any]) -> bytes:
        found: bytes = (await self.ada.call("GET", f"/api/storage/files/{file['file_id']}/content"))[1]
        return found


@asynccontextmanager
async def shop_with(pg: PostgresServer, folder: Path, billing: Billing, place: dict[str, Any]) -> AsyncIterator[Shop]:
    locations = folder / "locations.yaml"
    locations.write_text(yaml.safe_dump({"archive": place}))
    dsn = pg.create("upload")
    settings = settings_for(dsn.app, folder / "store", billing.url, storage_locations=locations)
    app = create(settings)
    async with aiohttp.ClientSession() as http:
        async for server in serving(app, settings):
            service = Upload(settings.base_url, app, dsn, folder / "store", settings, http, server)
            yield Shop(service, billing, locations, service.customer())


async def test_a_folder_nobody_laid_out_for_us(pg: PostgresServer, tmp_path: Path, billing: Billing) -> None:
    share = tmp_path / "share"
    for path, content in {"Ü b/ä.txt": b"hello", "exports/2019/report.txt": b"old", "top.txt": b"top"}.items():
        (share / path).parent.mkdir(parents=True, exist_ok=True)
        (share / path).write_bytes(content)
    (tmp_path / "secret").write_bytes(b"none of theirs")
    (share / "link.txt").symlink_to(tmp_path / "secret")
    os.mkfifo(share / "pipe")
    (share / os.fsdecode(b"\xff.txt")).write_bytes(b"no Unicode")
    before = {path: path.lstat().st_ino for path in share.rglob("*")}
    place = {"backend": "local", "path": str(tmp_path / "work"), "blobs": str(share)}
    async with shop_with(pg, tmp_path, billing, place) as shop:
        code, done = await shop.adopt()
        assert (code, done["files"], done["bytes"], list(done["skipped"])) == (1, 3, 11, ["\\udcff.txt"])
        files = await shop.files()
        assert set(files) == {"Ü b/ä.txt", "exports/2019/report.txt", "/top.txt"}
        assert files["Ü b/ä.txt"]["file_path"] == "Ü b/ä.txt"
        assert await shop.content(files["Ü b/ä.txt"]) == b"hello"
        assert {path: path.lstat().st_ino for path in share.rglob("*")} == before, "everything stays where it is"
        assert not shop.service.blobs(), "nothing was copied"
        assert (await shop.ada.quota())["used"] == 11
        assert (await shop.adopt())[1]["known"] == 3


@pytest.mark.parts("s3_program")
async def test_a_bucket_stopped_in_the_middle_and_gone_on_with(
    pg: PostgresServer, tmp_path: Path, billing: Billing, s3_server: ObjectServer
) -> None:
    client = Minio(urlsplit(s3_server.url).netloc, s3_server.key, s3_server.secret, secure=False, region="us-east-1")
    bucket = f"filled-{tmp_path.name}".lower().replace("_", "-")[-60:].strip("-")
    filled = {f"2019/{number:02}.txt": b"x" * number for number in range(12)}

    def fill() -> None:
        client.make_bucket(bucket)
        for path, content in filled.items():
            client.put_object(bucket, path, io.BytesIO(content), len(content))

    def listed() -> list[tuple[Any, ...]]:
        found = client.list_objects(bucket, "2019/", recursive=True)
        return [(item.object_name, item.size, item.etag, item.last_modified) for item in found]

    await asyncio.to_thread(fill)
    before = await asyncio.to_thread(listed)
    keys = {"access_key": s3_server.key, "secret_key": s3_server.secret}
    place = {"backend": "s3", "endpoint": s3_server.url, "bucket": bucket, **keys}
    async with shop_with(pg, tmp_path, billing, place) as shop:
        assert (await shop.adopt("--dry-run"))[1]["files"] == 12
        code, _ = await shop.adopt(fault="upload.adopted:5")
        assert code == -9
        assert len(await shop.service.ledger(shop.ada.tenant)) == 5
        code, done = await shop.adopt()
        assert (code, done["files"], done["known"]) == (0, 7, 5)
        assert (await shop.adopt())[1] == {"files": 0, "bytes": 0, "known": 12, "skipped": {}, "full": None}
        files = await shop.files()
        assert {file["file_path"]: file["sha256"] for file in files.values()} == {
            path: hashlib.sha256(content).hexdigest() for path, content in filled.items()
        }
        assert await shop.content(files["2019/11.txt"]) == filled["2019/11.txt"]
        entries = await shop.service.ledger(shop.ada.tenant)
        used = (await shop.ada.quota())["used"]
        assert (used, len(entries)) == (sum(map(len, filled.values())), 12) == (sum(e["delta"] for e in entries), 12)
    assert await asyncio.to_thread(listed) == before, "objects stay where they are"


@pytest.mark.parts("s3_program")
async def test_the_guide_fills_a_bucket_by_boto3_and_rclone(
    pg: PostgresServer, tmp_path: Path, billing: Billing, s3_server: ObjectServer, rclone: Path
) -> None:
    """As docs/storage.md prints it; only the store's address and the tenant's name are others."""
    client = Minio(urlsplit(s3_server.url).netloc, s3_server.key, s3_server.secret, secure=False, region="us-east-1")
    await asyncio.to_thread(client.make_bucket, "archive")
    (tmp_path / "report.pdf").write_bytes(REPORT)
    (tmp_path / "old" / "deep").mkdir(parents=True)
    (tmp_path / "old" / "deep" / "ä note.txt").write_bytes(b"an old note")
    script, told = (example(BUCKETS, "", number).replace("http://127.0.0.1:7070", s3_server.url) for number in (0, 1))
    keys = {"AWS_ACCESS_KEY_ID": s3_server.key, "AWS_SECRET_ACCESS_KEY": s3_server.secret}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=tmp_path, env={**os.environ, **keys}
    )
    assert await process.wait() == 0
    secrets = {"access_key": s3_server.key, "secret_key": s3_server.secret}
    place = {"backend": "s3", "endpoint": s3_server.url, "bucket": "archive", **secrets}
    async with shop_with(pg, tmp_path, billing, place) as shop:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euc", "-o", "pipefail"),
            # `storage import --tenant ada` of our command, which is asked of the service at hand.
            f'stowage() {{ shift 4; "{sys.executable}" -m services.upload.imports --tenant {shop.ada.tenant} "$@"; }}\n'
            + told,
            cwd=tmp_path,
            env={
                **beside(shop.service, shop.billing),
                **keys,
                "STORAGE_LOCATIONS": str(shop.locations),
                "PATH": f"{rclone.parent}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "RCLONE_CONFIG": str(tmp_path / "rclone.conf"),
            },
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
        assert process.returncode == 0
        assert [json.loads(line)["files"] for line in out.decode().splitlines()] == [2, 2]
        files = await shop.files()
        assert await shop.content(files["2019/report.pdf"]) == REPORT
        assert await shop.content(files["old/deep/ä note.txt"]) == b"an old note"
