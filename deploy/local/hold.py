"""One supervisor a home: a lock the system itself gives back, however its holder ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from deploy.local.home import Home, StackError

PATIENCE = 30.0  # seconds a supervisor has to end everything before it is killed


@contextmanager
def held(home: Home) -> Iterator[None]:
    """Raises StackError when this home's stack runs already, or is just starting."""
    descriptor = os.open(_file(home), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _lock(descriptor):
            raise StackError(_already(home))
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)


def refuse_second(home: Home) -> None:
    """The same answer as `held`, without taking anything."""
    if holder(home) is not None:
        raise StackError(_already(home))


def holder(home: Home) -> int | None:
    """The running supervisor's pid. Not read from the state, which may be broken or out of date."""
    try:
        descriptor = os.open(_file(home), os.O_RDONLY)
    except OSError:
        return None
    try:
        for _ in range(100):
            if _lock(descriptor):
                return None
            if text := os.pread(descriptor, 20, 0).decode():
                return int(text)
            time.sleep(0.01)  # it is about to write its pid
        return None
    finally:
        os.close(descriptor)


def end(home: Home, seconds: float = PATIENCE) -> bool:
    """Ends the supervisor and waits until it is gone; False when there was none."""
    pid = holder(home)
    if pid is None:
        return False
    try:
        process = psutil.Process(pid)
        process.terminate()
        deadline = time.monotonic() + seconds
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.05)
            if time.monotonic() > deadline:
                process.kill()
    except psutil.NoSuchProcess:
        pass
    return True


def _file(home: Home) -> Path:
    return home.path / "run" / "lock"


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _already(home: Home) -> str:
    try:
        state = home.read_state() or {}
    except StackError:
        state = {}
    where = f": {state['url']} (pid {state['pid']})" if state.get("ready") else " and is just starting"
    return f"a stack already runs in {home.path}{where}"
