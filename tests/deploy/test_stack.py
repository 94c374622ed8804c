"""The stack at the command line: one line for each trouble, nothing left behind."""

import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import time
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from deploy.local.ports import free_port
from deploy.local.process import is_alive
from tests.fixtures.stack import Stack, run, started


def only_line(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    return lines[0]


def test_status_says_everything_and_no_secret_but_the_administrators(stack: Stack) -> None:
    status = stack.status
    assert status["ready"] is True
    assert status["url"] == stack.url
    for key in ("home", "broker", "kafka", "mail_dir", "payments_url"):
        assert status[key]
    assert set(status["postgres"]) == {"gateway", "upload", "usage", "billing"}
    for entry in status["services"]:
        assert entry["state"] == "ready"
        assert {"name", "pid", "port", "state", "restarts"} <= set(entry)
    text = json.dumps(status)
    secrets = stack.secrets()
    assert secrets["admin_password"] in text
    assert not any(
        secrets[name] in text for name in ("internal", "signing", "payment_api_key", "payment_signing", "postgres")
    )
    assert "services" not in stack.command("status").stdout


def test_what_is_private_is_private(stack: Stack) -> None:
    others = stat.S_IRWXO
    assert not stack.home.stat().st_mode & others
    for name in ("secrets.json", "jwt.pem", "run/state.json"):
        assert stat.S_IMODE((stack.home / name).stat().st_mode) == 0o600


def test_a_second_up_says_so(stack: Stack) -> None:
    before = stack.home.stat()
    done = run("up", "--home", str(stack.home), "--port", str(free_port()), check=False)
    assert done.returncode == 1
    assert stack.url in only_line(done.stderr)
    assert stack.status["ready"] is True
    # Root's PostgreSQL runs as another user and looks at its folder once a minute: closed to it, it stops.
    after = stack.home.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("up", "--home", str(tmp_path / "home"), "--port", port, check=False)
    assert done.returncode == 1
    assert port in only_line(done.stderr)


@pytest.mark.parametrize("file", ["secrets.json", "run/state.json"])
def test_a_broken_folder_is_one_line(tmp_path: Path, file: str) -> None:
    broken = tmp_path / file
    broken.parent.mkdir(parents=True, exist_ok=True)
    broken.write_text("{")
    done = run("up", "--home", str(tmp_path), "--port", str(free_port()), check=False)
    assert done.returncode == 1
    assert "broken" in only_line(done.stderr)


def test_a_home_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run("up", "--home", str(tmp_path / "file"), "--port", str(free_port()), check=False)
    assert done.returncode == 1
    assert "cannot be used" in only_line(done.stderr)


def test_nothing_running_is_said() -> None:
    for command in ("status", "demo"):
        done = run(command, "--home", "/nonexistent-home", check=False)
        assert done.returncode == 1
        assert "nothing runs" in only_line(done.stderr)


def test_reset_does_not_delete_a_stranger(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    done = run("reset", "--home", str(tmp_path), check=False)
    assert done.returncode == 1
    assert (tmp_path / "precious").exists()


@pytest.mark.alone
def test_what_dies_is_started_again_and_down_leaves_nothing() -> None:
    """With another stack of the same run beside it."""
    with started("embedded") as own:
        for name in ("usage:worker", "gateway", "broker"):
            before = own.service(name)
            os.kill(before["pid"], signal.SIGKILL)
            wait_for(lambda name=name, before=before: back(own, name, before["pid"]))
        log = (own.home / "logs" / "supervisor.log").read_text()
        assert "usage:worker was killed by SIGKILL" in log
        # The embedded broker has a new address; those who use it know it.
        wait_for(lambda: all(s["state"] == "ready" for s in own.status["services"]))
        status = own.status
        recorded = [(s["pid"], s["created"]) for s in status["services"]] + [(status["pid"], status["created"])]
        family = psutil.Process(status["pid"]).children(recursive=True)
        assert len(family) >= len(status["services"])
        # An open page holds nobody up.
        with contextlib.closing(open_stream(own)):
            begun = time.monotonic()
            own.command("down")
            assert time.monotonic() - begun < 4
        assert not any(is_alive(pid, created) for pid, created in recorded)
        gone, alive = psutil.wait_procs(family, timeout=5)
        assert not alive, alive
        assert gone
        assert own.command("down").stdout.strip() == "nothing runs"


def test_a_killed_supervisor_takes_everything_along() -> None:
    with started("embedded") as own:
        status = own.status
        os.kill(status["pid"], signal.SIGKILL)
        wait_for(lambda: not any(is_alive(s["pid"], s["created"]) for s in status["services"]))
        own.command("up", "--port", str(own.port), "--broker", "embedded", "--detach")
        assert own.status["ready"] is True


def open_stream(stack: Stack) -> http.client.HTTPConnection:
    """A page's live events, being read."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=20)
    who = json.dumps({"email": f"{uuid4().hex}@example.com", "password": uuid4().hex, "name": "Ada"})
    connection.request("POST", "/api/auth/signup", who, {"Content-Type": "application/json"})
    token = json.loads(connection.getresponse().read())["access_token"]
    connection.request("GET", "/api/events", headers={"Authorization": f"Bearer {token}"})
    assert connection.getresponse().readline().startswith(b"retry")
    return connection


def back(stack: Stack, name: str, before: int) -> bool:
    now = stack.service(name)
    return bool(now["state"] == "ready" and now["pid"] != before and now["restarts"] >= 1)


def wait_for(holds: object, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.2)
