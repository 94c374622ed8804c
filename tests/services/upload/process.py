"""The service as a process of its own, to be measured or killed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from services.upload.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Process:
    url: str
    pid: int
    popen: subprocess.Popen[bytes]

    @property
    def resident(self) -> int:
        """Bytes."""
        return int(psutil.Process(self.pid).memory_info().rss)

    async def stalls(self, http: aiohttp.ClientSession, bucket: float) -> int:
        """How often the event loop was busy with itself for more than `bucket` seconds."""
        async with http.get(f"{self.url}/metrics") as answer:
            lines = [line.split() for line in (await answer.text()).splitlines() if line.startswith(_BUSY)]
        counts = {name: float(value) for name, value in lines}
        return round(counts[f"{_BUSY}_count"] - counts[f'{_BUSY}_bucket{{le="{bucket}"}}'])


_BUSY = "stowage_event_loop_busy_seconds"


@asynccontextmanager
async def running(settings: Settings, http: aiohttp.ClientSession, **told: str) -> AsyncIterator[Process]:
    environment = {
        name.upper(): str(value)
        for name, value in settings.model_dump(exclude_none=True, exclude_defaults=True).items()
        if not isinstance(value, list | dict | tuple | set | frozenset)
    }
    popen = subprocess.Popen(  # noqa: ASYNC220 - it is away at once
        [sys.executable, "-m", "services.upload.main"], cwd=ROOT, env={**os.environ, **environment, **told}
    )
    process = Process(settings.base_url, popen.pid, popen)
    try:
        await _ready(process, http)
        yield process
    finally:
        popen.kill()
        popen.wait()


async def _ready(process: Process, http: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(20):
        while process.popen.poll() is None:
            try:
                async with http.get(f"{process.url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise RuntimeError("the service did not start")
