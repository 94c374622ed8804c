"""A process that has imported what all services share, and forks each of them from there.

Eight services import the same 1.2 s of libraries each; on two cores that was half of a start. This process imports
them once, stays single-threaded, and answers requests on its standard input, a JSON object a line:
`{"id": 1, "module": "services.upload.main", "environment": {…}, "log": "…"}` → `{"id": 1, "pid": 4711}`, and
`{"id": 1, "code": -9}` when that child has ended.
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import sys
from typing import Any

COMMON = (
    "aiohttp",
    "aiokafka",
    "argon2",
    "asyncpg",
    "cryptography.hazmat.primitives.serialization",
    "email_validator",
    "faststream.kafka",
    "jinja2",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk.trace.export",
    "puremagic",
    "sqlmodel",
    "starlette.templating",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
    "yaml",
    "shared.http.idempotency",
    "shared.kafka.gaps",
    "shared.outbox.routes",
    "shared.worker",
)


def main() -> None:
    for name in COMMON:
        importlib.import_module(name)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, int] = {}
    pending = b""
    _tell({"ready": True})
    while True:
        readable, _, _ = select.select([0, wake_read], [], [])
        if wake_read in readable:
            os.read(wake_read, 4096)
            _reap(children)
        if 0 in readable:
            chunk = os.read(0, 65536)
            if not chunk:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    _become(request)
                children[pid] = request["id"]
                _tell({"id": request["id"], "pid": pid})


def _reap(children: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _tell({"id": children.pop(pid), "code": os.waitstatus_to_exitcode(status)})


def _tell(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _become(request: dict[str, Any]) -> None:
    """In the child: nothing of the nursery stays but its imports."""
    from deploy.local.process import die_with_parent

    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        die_with_parent()
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 256)
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = [request["module"]]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
    except BaseException:  # noqa: BLE001 - the child's last word goes to its log
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
