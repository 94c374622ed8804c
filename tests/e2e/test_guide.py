"""The examples of docs/storage.md do what they say, as they are printed there; only the address is another one."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from deploy.local.demo.client import Person
from tests.fixtures.parts import NPM
from tests.fixtures.stack import ROOT, Stack, person
from tests.services.upload.images.photos import photo

REPORT = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer<<>>\n%%EOF\n"
FILM = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"


@pytest.fixture
async def ada(stack: Stack, http: aiohttp.ClientSession, tmp_path: Path) -> Person:
    """With her files where the examples run."""
    (tmp_path / "report.pdf").write_bytes(REPORT)
    (tmp_path / "film.mp4").write_bytes(FILM)
    (tmp_path / "photo.jpg").write_bytes(photo("JPEG"))
    return await person(stack, http)


BUCKETS = "Files that are in a bucket already: boto3, rclone"
RUN = {"curl": 1, "tus-js-client": 1, "Direct, in Python": 1, BUCKETS: 3}  # blocks of code, by what they are below


def blocks() -> dict[str, list[str]]:
    """Of the whole guide."""
    guide, heading = (ROOT / "docs" / "storage.md").read_text(), ""
    found: dict[str, list[str]] = {}
    for part in re.finditer(r"^## ([^\n]+)$|^```\w*\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE):
        heading = part[1] or heading
        if part[2] is not None:
            found.setdefault(heading, []).append(part[2])
    return found


def example(heading: str, url: str, number: int = 0) -> str:
    return blocks()[heading][number].replace("http://127.0.0.1:8080", url)


def test_every_block_of_the_guide_is_run() -> None:
    """Here, and the first two on buckets by the tests of imports, which have one."""
    assert {heading: len(found) for heading, found in blocks().items()} == RUN


def run(folder: Path, who: Person, *command: str, **told: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "token": who.token, **told}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.usefixtures("curl", "openssl")
async def test_curl(stack: Stack, ada: Person, tmp_path: Path) -> None:
    told = r"""curl() { command curl -sS -w '%{stderr}%{http_code} ' "$@"; }; """
    done = run(tmp_path, ada, "bash", "-euc", "-o", "pipefail", told + example("curl", stack.url))
    assert done.stderr.split() == b"201 412 201 201 201 206 201".split()
    assert b"%PDF-1.4\n1\r\n" in done.stdout
    assert b"Content-Range: bytes 37-46/47" in done.stdout
    (kept,) = (await ada.get("/api/storage/files?name=photo.jpg"))["items"]
    assert kept["sha256"] != hashlib.sha256(photo("JPEG")).hexdigest()


@pytest.mark.parts("tus_js")
async def test_tus_js_client(stack: Stack, ada: Person, tmp_path: Path) -> None:
    told = 'import fs from "node:fs"; const file = fs.createReadStream("film.mp4"), token = process.env.token;\n'
    script = example("tus-js-client", stack.url).replace('"/api', f'"{stack.url}/api')
    (tmp_path / "node_modules").symlink_to(NPM / "node_modules")
    (tmp_path / "send.mjs").write_text(told + script)
    file = await ada.get(f"/api/storage/files/{run(tmp_path, ada, 'node', 'send.mjs').stdout.decode().strip()}")
    assert (file["file_size"], file["category"], file["folder"]) == (len(FILM), "projects", "2026")


async def test_direct_in_python(stack: Stack, ada: Person, tmp_path: Path) -> None:
    """Of the three ways in it the one to a local disk."""
    script = 'import os\ntoken = os.environ["token"]\n' + example("Direct, in Python", stack.url)
    (tmp_path / "send.py").write_text(script + '\nprint(send("report.pdf", "documents", "application/pdf"))\n')
    file = await ada.get(f"/api/storage/files/{run(tmp_path, ada, sys.executable, 'send.py').stdout.decode().strip()}")
    assert (file["file_name"], file["file_size"]) == ("report.pdf", len(REPORT))


async def test_rclone_fetches_by_a_link(stack: Stack, ada: Person, tmp_path: Path, rclone: Path) -> None:
    sent = (await ada.upload("report.pdf", REPORT, "documents")).expect(201, "upload")
    (await ada.call("PATCH", f"/api/storage/files/{sent['file_id']}", {"name": "träume.pdf"})).expect(200, "rename")
    link = (await ada.call("POST", f"/api/storage/files/{sent['file_id']}/links", {})).expect(201, "link")
    told = {"url": link["url"], "PATH": f"{rclone.parent}:{os.environ['PATH']}", "RCLONE_CONFIG": "none.conf"}
    run(tmp_path, ada, "bash", "-euc", example(BUCKETS, stack.url, 2), **told)
    assert (tmp_path / "downloads" / "träume.pdf").read_bytes() == REPORT
