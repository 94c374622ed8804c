"""The service as a process of its own, to be measured or killed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
from pydantic import SecretStr

from services.upload.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Process:
    url: str
    environment: Mapping[str, str]
    popen: subprocess.Popen[bytes] = field(init=False)
    told: Mapping[str, str] = field(init=False)  # besides, when it was last started
    _answered: bool = False

    def start(self, **told: str) -> None:
        self.told, self._answered = told, False
        command = [sys.executable, "-m", "services.upload.main"]
        self.popen = subprocess.Popen(command, cwd=ROOT, env={**self.environment, **told})

    def kill(self) -> None:
        """As kill -9 does."""
        self.popen.kill()
        self.popen.wait()

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    @property
    def up(self) -> bool:
        """It has answered since it was started, and runs."""
        return self._answered and self.alive

    @property
    def resident(self) -> int:
        """Bytes."""
        return int(psutil.Process(self.pid).memory_info().rss)

    async def ready(self, http: aiohttp.ClientSession) -> None:
        """Raises RuntimeError when it dies first."""
        async with asyncio.timeout(60):
            while self.alive:
                try:
                    async with http.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            self._answered = True
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)
        raise RuntimeError("the service did not start")

    async def stalls(self, http: aiohttp.ClientSession, bucket: float) -> int:
        """How often the event loop was busy with itself for more than `bucket` seconds."""
        async with http.get(f"{self.url}/metrics") as answer:
            lines = [line.split() for line in (await answer.text()).splitlines() if line.startswith(_BUSY)]
        counts = {name: float(value) for name, value in lines}
        return round(counts[f"{_BUSY}_count"] - counts[f'{_BUSY}_bucket{{le="{bucket}"}}'])


_BUSY = "stowage_event_loop_busy_seconds"


def environment_of(settings: Settings) -> dict[str, str]:
    """What tells another process those settings, on top of our own environment."""
    told = {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings.model_dump(exclude_none=True, exclude_defaults=True).items()
        if not isinstance(value, list | dict | tuple | set | frozenset)
    }
    return {**os.environ, **told}


@asynccontextmanager
async def running(settings: Settings, http: aiohttp.ClientSession, **told: str) -> AsyncIterator[Process]:
    process = Process(settings.base_url, {**environment_of(settings), **told})
    process.start()
    try:
        await process.ready(http)
        yield process
    finally:
        process.kill()
