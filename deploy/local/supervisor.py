"""Runs a stack: starts its parts side by side, keeps them alive, ends them all."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp
import psutil

from deploy.local import kafka, migrations, postgres
from deploy.local.forks import Nursery
from deploy.local.hold import held
from deploy.local.home import SERVICES, Home, StackError
from deploy.local.parts import ADMIN, ROOT, Addresses, Ports, service_parts
from deploy.local.process import Part, Running, kill_orphans

READY_WITHIN = 90.0  # seconds; a first start on a slow machine takes its time
HOPELESS = 6  # failed starts of a part before the first time everything was ready
LOOK = 0.1  # seconds between health checks until ready
LOOK_AGAIN = 3.0  # and from then on
USES_BROKER = {f"{service}:worker" for service in SERVICES}


class Supervisor:
    """One stack in one home, in the foreground."""

    def __init__(
        self, home: Home, *, port: int, broker: str, postgres_dsn: str | None, say: Callable[[str], None]
    ) -> None:
        self._home = home
        self._port = port
        self._broker = broker
        self._postgres_dsn = postgres_dsn
        self._say = say
        self._running: list[Running] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._http: aiohttp.ClientSession | None = None
        self._ready = False
        self._begun = time.monotonic()
        self._created = psutil.Process().create_time()

    async def run(self) -> None:
        """Until SIGINT or SIGTERM. Raises StackError when the stack cannot be started."""
        self._home.prepare()
        with held(self._home):
            state = self._home.read_state()
            if state is not None:  # of a supervisor that was killed
                kill_orphans(state["services"])
            await self._run()

    async def _run(self) -> None:
        self._nursery = Nursery(self._home.log("nursery"), ROOT)
        self._secrets = self._home.secrets()
        self._ports = Ports(self._home, self._port)
        self._addresses = Addresses(self._home, self._ports, self._secrets, self._postgres_dsn)
        self._broker = await asyncio.to_thread(kafka.choose, self._broker)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stopping
        finally:
            starting.cancel()
            stopping.cancel()
            await self._stop()

    async def _start(self) -> None:
        self._save()
        await self._nursery.start()  # its imports take as long as the database and the broker
        parts = service_parts(self._home, self._ports, self._addresses, self._nursery)
        services = [self._launch(part) for part in parts if part.fork is None]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_database())
            group.create_task(self._start_broker())
        services += [self._launch(part) for part in parts if part.fork is not None]
        await self._wait_ready(services)
        self._ready = True
        self._save()
        took = time.monotonic() - self._begun
        self._say(f"ready in {took:.1f} s: {self._ports.url('gateway')}")

    async def _start_database(self) -> None:
        if self._postgres_dsn is None:
            cluster = postgres.Cluster(self._home, self._ports["postgres"], self._secrets["postgres"])
            await cluster.initialise()
            dsn = cluster.dsn()
            part = Part(
                name="postgres",
                command=cluster.command,
                environment=lambda: {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
                log=self._home.log("postgres"),
                cwd=ROOT,
                port=self._ports["postgres"],
                user=cluster.user,
                stop_signal=signal.SIGINT,  # its fast shutdown
                greet=partial(postgres.wait_until_up, dsn),
            )
            await self._launch(part).until_ready(READY_WITHIN)
        else:
            dsn = self._postgres_dsn
            await postgres.wait_until_up(dsn)
        await postgres.provision(dsn, self._secrets)
        owners = {service: self._addresses.database(service, "owner") for service in SERVICES}
        behind = await migrations.bring_up_to_date(owners)
        self._say("postgres ready" + (f" (migrated: {', '.join(behind)})" if behind else ""))

    async def _start_broker(self) -> None:
        greet: Callable[[], Awaitable[None]]
        if self._broker == "kafka":
            node = kafka.Kafka(self._home, self._ports["kafka"], self._ports["kafka_controller"])
            await node.prepare(self._say)
            command, address = node.command, node.address
            greet = partial(kafka.create_topics, address)
        else:
            file = self._home.path / "run" / "broker"
            file.unlink(missing_ok=True)
            command, address = [*kafka.EMBEDDED, str(file)], ""
            greet = self._embedded_started
        part = Part(
            name="broker",
            command=command,
            environment=lambda: {**os.environ, "LOG_DIR": str(self._home.folder("logs"))},
            log=self._home.log("broker"),
            cwd=ROOT,
            port=self._ports["kafka"] if address else None,
            greet=greet,
        )
        self._addresses.kafka = address
        await self._launch(part).until_ready(READY_WITHIN)
        kind = "Apache Kafka " + kafka.VERSION if self._broker == "kafka" else "embedded (librdkafka's, in memory)"
        self._say(f"broker ready: {kind} at {self._addresses.kafka}")

    async def _embedded_started(self) -> None:
        """Its address is new at every start, so those who know the old one are started again."""
        file = self._home.path / "run" / "broker"
        before = self._addresses.kafka
        for _ in range(1000):
            with contextlib.suppress(FileNotFoundError):
                address = file.read_text()
                if address and address != before:
                    break
            await asyncio.sleep(0.02)
        else:
            return
        self._addresses.kafka = address
        if before:
            dependants = [running for running in self._running if running.part.name in USES_BROKER]
            await asyncio.gather(*(running.restart() for running in dependants))

    def _launch(self, part: Part) -> Running:
        running = Running(part, self._say, self._save)
        self._running.append(running)
        self._tasks.append(asyncio.create_task(running.run()))
        return running

    async def _wait_ready(self, services: list[Running]) -> None:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=4))
        self._tasks += [asyncio.create_task(self._watch(self._http, running)) for running in services]
        deadline = time.monotonic() + READY_WITHIN
        while waiting := [running for running in services if running.state != "ready"]:
            if time.monotonic() > deadline:
                names = ", ".join(running.part.name for running in waiting)
                raise StackError(f"not ready after {READY_WITHIN:.0f} s: {names}; see `stowage logs`")
            await asyncio.sleep(0.05)

    async def _watch(self, session: aiohttp.ClientSession, running: Running) -> None:
        """Asks until it is ready, then now and then whether it still is."""
        while True:
            healthy = False
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with session.get(str(running.part.health)) as answer:
                    healthy = answer.status == 200 and running.pid is not None
            if not healthy:
                running.miss()
            elif running.state != "ready":
                if not self._ready:
                    self._say(f"{running.part.name} ready")
                running.ready()
            else:
                running.missed = 0
            for _ in range(round(LOOK_AGAIN / LOOK)):
                await asyncio.sleep(LOOK)
                if running.state != "ready":
                    break

    async def _stop(self) -> None:
        self._ready = False
        if self._http is not None:
            await self._http.close()
        # The services' last rows, records and spans still need somewhere to go.
        first = [running for running in self._running if running.part.fork is not None]
        await asyncio.gather(*(running.stop() for running in first))
        await asyncio.gather(*(running.stop() for running in self._running if running not in first))
        await self._nursery.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._home.state_file.unlink(missing_ok=True)
        self._say("stopped")

    def _save(self) -> None:
        with contextlib.suppress(OSError):  # a disk that fills up must not end what still runs
            self._home.write_state(self._state())

    def _state(self) -> dict[str, Any]:
        addresses, ports = self._addresses, self._ports
        databases = {
            key: {service: addresses.database(service, role) for service in SERVICES}
            for key, role in (("postgres", "app"), ("postgres_worker", "worker"), ("postgres_owner", "owner"))
        }
        return {
            "url": ports.url("gateway"),
            "ready": self._ready and all(running.state == "ready" for running in self._running),
            "home": str(self._home.path.resolve()),
            "broker": self._broker,
            **databases,
            "kafka": addresses.kafka,
            "mail_dir": str(self._home.folder("mail").resolve()),
            "mail_url": f"{ports.url('console')}/mail",
            "payments_url": ports.url("payments"),
            "traces_url": ports.url("console"),
            "admin": {"email": ADMIN, "password": self._secrets["admin_password"]},
            "services": [running.entry() for running in self._running],
            "pid": os.getpid(),
            "created": self._created,
        }


def say(line: str) -> None:
    print(line, flush=True)


def main(home: Home, *, port: int, broker: str, postgres_dsn: str | None) -> int:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is not up yet is no news
    try:
        asyncio.run(Supervisor(home, port=port, broker=broker, postgres_dsn=postgres_dsn, say=say).run())
    except (StackError, BaseExceptionGroup) as error:
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        if not isinstance(first, StackError):
            raise
        print(f"stowage: {first}", file=sys.stderr, flush=True)
        return 1
    return 0
