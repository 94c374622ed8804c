"""The real parts underneath: a PostgreSQL that waits for its disk, and the best broker this machine can have."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from deploy.local import kafka
from deploy.local.home import Home
from deploy.local.ports import free_port
from tests.fixtures.broker import EmbeddedBroker
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.stack import CACHE, ROOT


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    folder = Path(tempfile.mkdtemp(prefix="stowage-bench-pg-"))
    server = PostgresServer(folder, durable=True)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def broker(*extra_topics: str) -> AsyncIterator[str]:
    """A fresh cluster with our topics and the extra ones; yields its address."""
    if kafka.choose("auto") == "embedded":
        running = EmbeddedBroker()
        try:
            yield running.bootstrap
        finally:
            running.stop()
        return
    os.environ["STOWAGE_CACHE"] = str(CACHE)
    home = Home(Path(tempfile.mkdtemp(prefix="stowage-bench-kafka-")))
    home.prepare()
    node = kafka.Kafka(home, free_port(), free_port())
    await node.prepare(print)
    log = home.log("broker").open("wb")
    process = subprocess.Popen(  # noqa: ASYNC220 - starting it is quick
        node.command, stdout=log, stderr=log, env={**os.environ, "LOG_DIR": str(home.folder("logs"))}
    )
    try:
        await kafka.create_topics(node.address)
        await _create(node.address, extra_topics)
        yield node.address
    finally:
        process.kill()
        process.wait()
        log.close()
        shutil.rmtree(home.path, ignore_errors=True)


@asynccontextmanager
async def application(module: str, folder: Path) -> AsyncIterator[str]:
    """An ASGI application under uvicorn as everybody runs it, in a process of its own; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", f"{module}:app", "--port", port, "--log-level", "warning"]
    async with process([*command, "--no-access-log"], port, FOLDER=str(folder)):
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def process(command: Sequence[object], port: int, **told: str) -> AsyncIterator[None]:
    """Runs while it is used, from the moment it listens on."""
    running = subprocess.Popen([str(word) for word in command], cwd=ROOT, env={**os.environ, **told})  # noqa: ASYNC220 - starting it is quick
    try:
        await _listening(port)
        yield
    finally:
        running.terminate()
        running.wait(20)


async def _listening(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def _create(address: str, topics: tuple[str, ...]) -> None:
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, kafka.PARTITIONS, 1) for topic in topics])
    finally:
        await admin.close()
