"""A worker process: consumers, relays and jobs, with a small HTTP server that says how they are."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import uvloop
from fastapi import APIRouter

from shared import telemetry
from shared.http.app import Check, create_app
from shared.http.server import server_for
from shared.settings import ServiceSettings

log = logging.getLogger(__name__)

Task = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Job:
    """Runs again `every` seconds after it ended; a failure is logged and the next turn comes all the same."""

    name: str
    every: float
    run: Task


@dataclass(frozen=True, slots=True)
class WorkerParts:
    tasks: Sequence[Task] = ()
    jobs: Sequence[Job] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    routers: Sequence[APIRouter] = ()


Build = Callable[[Any], AbstractAsyncContextManager[WorkerParts]]


def run_worker(settings: ServiceSettings, build: Build) -> None:
    """Runs until told to stop. A task that ends or fails ends the process: whoever started it starts it again."""
    telemetry.setup(settings, worker=True)
    # Batches of thousands of small records make the collector look at everything again and again: measured with the
    # usage consumer, 62,000 records/s with Python's thresholds, 128,000 with these.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        uvloop.run(_run(settings, build))
    finally:
        telemetry.shutdown()


async def _run(settings: ServiceSettings, build: Build) -> None:
    async with build(settings) as parts:
        app = create_app(settings, title=f"{settings.service_name} worker", routers=parts.routers, checks=parts.checks)
        server = server_for(app, settings)
        running = [asyncio.create_task(_named(task)()) for task in parts.tasks]
        running += [asyncio.create_task(_repeat(job)) for job in parts.jobs]
        serving = asyncio.create_task(server.serve())
        # uvicorn answers SIGTERM and SIGINT by ending serve(); the tasks end after it.
        done, _ = await asyncio.wait({serving, *running}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await asyncio.wait({serving})
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for task in done - {serving}:
            error = task.exception()
            log.critical("a part of the worker ended: %s", error or "for no reason", exc_info=error)
            raise SystemExit(1)


def _named(task: Task) -> Callable[[], Any]:
    async def run() -> None:
        await task()

    return run


async def _repeat(job: Job) -> None:
    while True:
        try:
            await job.run()
        except Exception:
            log.exception("job %s failed", job.name)
        await asyncio.sleep(job.every)
