"""An export of very many small files: the process that makes it does not grow with their number.

`make test` exports 10,000, `make faults` 100,000.
"""

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from services.upload.exports import verify
from services.upload.settings import Settings
from tests.fixtures.postgres import query
from tests.services.upload.conftest import Billing, Customer, Upload, settings_for
from tests.services.upload.exports.test_exports import ask, fetch, show
from tests.services.upload.process import ROOT, environment_of

FEW, MANY = 1_000, int(os.environ.get("UPLOADS", "10000"))
SIZE = 200  # bytes of each
GROWTH = 24 * 1024**2  # bytes, for what waits for a checkpoint; 10,000 members kept as objects are more

pytestmark = [pytest.mark.alone, pytest.mark.faults, pytest.mark.timeout(180 + MANY // 50)]

_FILES = """
    INSERT INTO stored_file (id, tenant_id, path, name, size, content_type, file_type, category, folder, sha256,
        created_at)
    SELECT id, $1::text::uuid, 'customers/' || $1::text || '/' || id || '.txt', 'report ' || id || '.txt', $4,
        'text/plain', 'document', 'documents', 'reports/' || left(id::text, 2), sha256, now()
    FROM unnest($2::uuid[], $3::text[]) AS t(id, sha256)
"""


async def test_memory_does_not_grow_with_the_files(service: Upload, billing: Billing, tmp_path: Path) -> None:
    settings = settings_for(service.dsn.worker, service.root, billing.url)
    highest = {}
    for files in (FEW, MANY):
        who = service.customer()
        await _fill(service, who, files)
        export = await ask(who)
        highest[files] = await asyncio.to_thread(_make, settings)
        assert (await show(who, export))["status"] == "ready"
        file = await fetch(who, export, tmp_path)
        assert await asyncio.to_thread(lambda: verify.verify(str(file))["members"]) == files + 2  # noqa: B023 - at once
    grown = highest[MANY] - highest[FEW]
    print(f"\n{', '.join(f'{files:,} files {most / 2**20:.0f} MiB' for files, most in highest.items())}")  # noqa: T201
    assert grown <= GROWTH, f"{grown / 2**20:.0f} MiB"


async def _fill(service: Upload, who: Customer, files: int) -> None:
    await who.quota()
    blobs = service.root / "blobs" / "customers" / str(who.tenant)
    blobs.mkdir(parents=True)
    sums = {}
    for file_id in (uuid4() for _ in range(files)):
        content = file_id.bytes * SIZE
        (blobs / f"{file_id}.txt").write_bytes(content[:SIZE])
        sums[file_id] = hashlib.sha256(content[:SIZE]).hexdigest()
    await query(service.dsn.superuser, _FILES, str(who.tenant), list(sums), list(sums.values()), SIZE)


def _make(settings: Settings) -> int:
    """In a process of its own; the most bytes it had in memory."""
    command = [sys.executable, "-m", "services.upload.jobs", "run", "exports"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment_of(settings), stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, _highest(process.pid))
        time.sleep(0.02)
    assert process.returncode == 0
    return most


def _highest(pid: int) -> int:
    """Bytes, since it began; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
