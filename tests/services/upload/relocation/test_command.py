"""`stowage storage migrate` as people run it: to a real S3 store and home again, killed on the way and run again."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from services.upload.blobs.open import open_store
from services.upload.blobs.places import read_place
from shared.db.migrate import ROOT
from tests.fixtures.postgres import query
from tests.fixtures.stores import ObjectServer
from tests.services.upload.conftest import Billing, Customer, Upload, beside

FILES = 24

pytestmark = pytest.mark.parts("s3_program")


async def command(environment: dict[str, str], *words: str, **told: str) -> tuple[int, dict[str, Any], str]:
    """What it returned, printed, and complained of."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *words),
        cwd=ROOT,
        env={**environment, **told},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(out or b"{}"), err.decode()


async def elsewhere(service: Upload, target: str) -> int:
    rows = await query(service.dsn.superuser, "SELECT FROM stored_file WHERE location <> $1", target)
    return len(rows)


async def is_whole(ada: Customer, contents: dict[str, bytes]) -> None:
    for file, content in contents.items():
        assert (await ada.call("GET", f"/api/storage/files/{file}/content"))[:2] == (200, content)


async def test_there_and_home_again_with_a_death_on_each_way(
    service: Upload, billing: Billing, tmp_path: Path, s3_server: ObjectServer
) -> None:
    bucket = {
        "backend": "s3",
        "endpoint": s3_server.url,
        "bucket": f"test-{uuid4().hex[:12]}",
        "access_key": s3_server.key,
        "secret_key": s3_server.secret,
    }
    places = tmp_path / "locations.yaml"
    places.write_text(yaml.safe_dump({"bucket": bucket}))
    environment = {**beside(service, billing), "STORAGE_LOCATIONS": str(places)}
    store = open_store(read_place(bucket), None, 20)
    await store.open()
    locations = service.app.state.services.files._locations
    locations._stores = {**locations._stores, "bucket": store}
    ada = service.customer()
    contents = {}
    for _ in range(FILES):
        content = os.urandom(20_000)
        contents[(await ada.upload(content))[1]["file_id"]] = content
    before = await ada.quota()

    async def migrate(target: str) -> None:
        code, _, _ = await command(environment, "services.upload.relocation", "--to", target, FAULT="upload.copied:10")
        assert code == -signal.SIGKILL
        left = await elsewhere(service, target)
        assert 0 < left < FILES, "it died on the way"
        await is_whole(ada, contents)
        while await query(service.dsn.superuser, "SELECT FROM pg_locks WHERE locktype = 'advisory'"):
            await asyncio.sleep(0.02)  # PostgreSQL has not seen yet that it died
        code, done, complaints = await command(environment, "services.upload.relocation", "--to", target)
        assert (code, done["files"], done["failed"]) == (0, left, {}), complaints
        assert await elsewhere(service, target) == 0
        await query(service.dsn.superuser, "UPDATE blob_garbage SET at = now()")
        assert (await command(environment, "services.upload.jobs", "run", "garbage"))[0] == 0
        await is_whole(ada, contents)
        assert await ada.quota() == before

    await migrate("bucket")
    assert service.blobs() == []
    assert len([found async for found in store.walk("customers/")]) == FILES
    await migrate("default")
    assert len(service.blobs()) == FILES
    assert [found.path async for found in store.walk("customers/")] == []
    code, _, complaints = await command(environment, "services.upload.relocation", "--to", "nowhere")
    assert (code, "there is no location nowhere" in complaints) == (1, True)
    await store.close()
