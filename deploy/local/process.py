"""One process of the stack: started, watched, started again with growing patience."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from deploy.local.home import StackError

FIRST_DELAY = 0.2  # seconds before a dead process is started again
LONGEST_DELAY = 10.0
MISSES = 3  # health checks in a row
STABLE = 15.0  # seconds alive after which it is forgiven
GRACE = 8.0  # seconds to end by itself before it is killed

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Part:
    """What to start and how to tell that it is ready (`health`: an address that answers 200)."""

    name: str
    command: Sequence[str]
    environment: Callable[[], Mapping[str, str]]
    log: Path
    cwd: Path
    port: int | None = None
    health: str | None = None
    user: str | None = None
    stop_signal: int = signal.SIGTERM
    fork: Callable[[], Awaitable[Any]] | None = None  # starts it another way than by `command`
    greet: Callable[[], Awaitable[None]] | None = None  # after each start: returns when it is ready


@dataclass
class Running:
    """A part and its process over time."""

    part: Part
    say: Callable[[str], None]
    changed: Callable[[], None]
    state: str = "starting"
    restarts: int = 0
    process: Any = None  # asyncio's Process, or a Forked
    missed: int = 0  # health checks in a row
    _stopping: bool = False
    _expected: bool = False  # this death was ours

    @property
    def pid(self) -> int | None:
        return None if self.process is None or self.process.returncode is not None else self.process.pid

    def entry(self) -> dict[str, Any]:
        """Its line in `status --json`."""
        entry = {"name": self.part.name, "pid": self.pid, "port": self.part.port, "state": self.state}
        created = None
        if self.pid is not None:
            with contextlib.suppress(psutil.Error):
                created = psutil.Process(self.pid).create_time()
        return {**entry, "restarts": self.restarts, "created": created}

    async def run(self) -> None:
        """Keeps it alive until `stop`."""
        delay = FIRST_DELAY
        while True:
            started = time.monotonic()
            code = await self._live()
            if self._stopping:
                return
            if self._expected:
                self._expected = False
                continue
            if time.monotonic() - started > STABLE:
                delay = FIRST_DELAY
            self.restarts += 1
            self._set("restarting")
            self.say(f"{self.part.name} {_reason(code)}{self._last_words()}; starting again in {delay:.1f} s")
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _live(self) -> int | str:
        """From start to end, and how it ended."""
        if self._stopping:
            return 0
        greeting = None
        try:
            await self._start()
            greeting = asyncio.create_task(self._greet())
            code: int = await self.process.wait()
            return code
        except OSError as error:
            return f"cannot be started: {error.strerror or error}"
        finally:
            if greeting is not None:
                greeting.cancel()

    async def restart(self) -> None:
        """On purpose: not counted, not delayed."""
        if self.pid is not None:
            self._expected = True
            await self._end()

    async def stop(self) -> None:
        self._stopping = True
        await self._end()
        self._set("stopped")

    def ready(self) -> None:
        self.missed = 0
        if self.state != "ready" and not self._stopping:
            self._set("ready")

    def miss(self) -> None:
        """A health check failed. One may be bad luck on a busy machine; several in a row are shown."""
        self.missed += 1
        if self.state == "ready" and self.missed >= MISSES:
            self._set("not ready")

    async def until_ready(self, seconds: float) -> None:
        """Raises StackError with its last words when that takes longer."""
        deadline = time.monotonic() + seconds
        while self.state != "ready":
            if time.monotonic() > deadline:
                raise StackError(f"{self.part.name} is not ready after {seconds:.0f} s{self._last_words()}")
            await asyncio.sleep(0.02)

    async def _start(self) -> None:
        part = self.part
        self._set("starting")
        if part.fork is not None:
            self.process = await part.fork()
        else:
            self.process = await self._spawn()
        self.changed()

    async def _greet(self) -> None:
        if self.part.greet is not None:
            try:
                await self.part.greet()
            except StackError as error:
                self.say(f"{self.part.name}: {error}")
            else:
                self.ready()

    async def _spawn(self) -> asyncio.subprocess.Process:
        part = self.part
        with part.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *part.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(part.environment()),
                cwd=part.cwd,
                user=part.user,
                group=part.user,
                extra_groups=[] if part.user else None,
                preexec_fn=die_with_parent,
                start_new_session=True,
            )

    async def _end(self) -> None:
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self.part.stop_signal)
        try:
            async with asyncio.timeout(GRACE):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _set(self, state: str) -> None:
        self.state = state
        self.changed()

    def _last_words(self) -> str:
        try:
            lines = self.part.log.read_text(errors="replace")[-4000:].strip().splitlines()
        except OSError:
            return ""
        return f" ({lines[-1][:300]})" if lines else ""


async def run_tool(
    command: Sequence[str], *, cwd: Path, user: str | None = None, seconds: float = 600
) -> tuple[int, str]:
    """A program that ends by itself: its code and what it said.

    It is ended with the caller, so that Ctrl-C waits for nothing. Raises StackError after `seconds`.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        preexec_fn=die_with_parent,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            said, _ = await process.communicate()
    except TimeoutError:
        raise StackError(f"{Path(command[0]).name} did not end within {seconds:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return process.returncode or 0, said.decode(errors="replace").strip()


def last_line(text: str) -> str:
    return text.splitlines()[-1] if text else "no reason given"


def die_with_parent() -> None:
    """In the child, before it becomes the program: when the supervisor dies in whatever way, so does this."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _reason(code: int | str) -> str:
    if isinstance(code, str):
        return code
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def is_alive(pid: int | None, created: float | None) -> bool:
    """The very process that was recorded, not one that got its number."""
    if pid is None or created is None:
        return False
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kill_orphans(entries: Sequence[Mapping[str, Any]]) -> int:
    """Ends recorded processes whose supervisor is gone; returns how many there were."""
    found = [entry for entry in entries if is_alive(entry.get("pid"), entry.get("created"))]
    for entry in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(entry["pid"], signal.SIGKILL)
    for entry in found:
        with contextlib.suppress(psutil.Error):
            psutil.Process(entry["pid"]).wait(timeout=5)
    return len(found)
