"""The nursery seen from the supervisor: forked children that look like processes of asyncio."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.local.process import die_with_parent


class Forked:
    """One child. `returncode` is None while it lives."""

    def __init__(self) -> None:
        self.pid = 0
        self.returncode: int | None = None
        self._born = asyncio.Event()
        self._ended = asyncio.Event()

    async def born(self) -> None:
        await self._born.wait()

    async def wait(self) -> int:
        await self._ended.wait()
        return self.returncode or 0

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def told(self, message: Mapping[str, Any]) -> None:
        if "pid" in message:
            self.pid = message["pid"]
            self._born.set()
        else:
            self.end(message["code"])

    def end(self, code: int) -> None:
        if self.returncode is None:
            self.returncode = code
        self._born.set()
        self._ended.set()


class Nursery:
    """Started with the stack, and again when it dies (its children die with it)."""

    def __init__(self, log: Path, cwd: Path) -> None:
        self._log = log
        self._cwd = cwd
        self._lock = asyncio.Lock()
        self._children: dict[int, Forked] = {}
        self._number = 0
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns at once; requests wait in the pipe until the imports are done."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "deploy.local.nursery",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._cwd,
                preexec_fn=die_with_parent,
                start_new_session=True,
            )
        self._reader = asyncio.create_task(self._listen(self._process))

    async def fork(self, module: str, environment: Mapping[str, str], log: Path) -> Forked:
        async with self._lock:
            if self._process is None or self._process.returncode is not None:
                await self.start()
        process = self._process
        if process is None or process.stdin is None:
            raise OSError("no nursery")
        self._number += 1
        child = self._children[self._number] = Forked()
        request = {"id": self._number, "module": module, "environment": dict(environment), "log": str(log)}
        process.stdin.write(json.dumps(request).encode() + b"\n")
        await child.born()
        return child

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._reader is not None:
            await self._reader

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        async for line in process.stdout:
            message = json.loads(line)
            if "id" in message:
                self._children[message["id"]].told(message)
                if "code" in message:
                    del self._children[message["id"]]
        await process.wait()
        for child in self._children.values():
            child.end(-signal.SIGKILL)
        self._children.clear()
