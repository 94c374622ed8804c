"""Everything `upload` does by itself, by name: every so often in a worker, or when somebody asks for it."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from prometheus_client import Counter, Gauge

from services.upload.jobs.history import History
from shared import worker
from shared.db import Database, turn
from shared.ids import new_id

log = logging.getLogger(__name__)

RUNS = Counter("stowage_upload_job_runs_total", "Runs of a job", ["job", "outcome"])
SECONDS = Counter("stowage_upload_job_seconds_total", "Seconds spent in a job", ["job"])
SUCCESS = Gauge("stowage_upload_job_last_success_seconds", "When a job last succeeded, since the epoch", ["job"])

Result = dict[str, Any] | None


class JobUnknown(LookupError):
    """No job has that name."""


class JobBusy(Exception):
    """Another process runs it just now."""


@dataclass(frozen=True, slots=True)
class Job:
    """Runs again `every` seconds after it ended. Every run may be the second of its kind, or die halfway.

    It returns what it did, for the history; nothing when there was nothing to do. `turn` is what it does by itself,
    where that is less than when it is asked for.
    """

    name: str
    every: float
    run: Callable[[], Awaitable[Result]]
    about: str
    turn: Callable[[], Awaitable[Result]] | None = None


class Registry:
    def __init__(self, database: Database, jobs: Sequence[Job]) -> None:
        self._database = database
        self.history = History(database)
        self.jobs = {job.name: job for job in jobs}

    def periodic(self) -> list[worker.Job]:
        return [worker.Job(job.name, job.every, partial(self._turn, job)) for job in self.jobs.values()]

    async def run(self, name: str) -> Result:
        """Now, and with a row in the history whatever comes of it. Raises JobUnknown, JobBusy, what the job raises."""
        job = self.jobs.get(name)
        if job is None:
            raise JobUnknown(name)
        return await self.run_alone(name, job.run)

    async def run_alone(self, name: str, work: Callable[[], Awaitable[Result]]) -> Result:
        """Under the lock and in the history, as `run`, also for what is not run by itself."""
        async with turn(self._database, f"job {name}") as mine:
            if mine is None:
                raise JobBusy(name)
            run = new_id()
            await self.history.begin(run, name)
            try:
                result = await _measured(name, work)
            except BaseException as error:
                await self.history.end(run, name, None, _said(error))
                raise
            await self.history.end(run, name, result or {}, None)
            return result

    async def _turn(self, job: Job) -> None:
        """A turn that found nothing to do leaves no row: some come every second."""
        async with turn(self._database, f"job {job.name}") as mine:
            if mine is None:
                return
            begun = time.monotonic()
            try:
                result = await _measured(job.name, job.turn or job.run)
            except Exception as error:
                await self.history.add(new_id(), job.name, time.monotonic() - begun, None, _said(error))
                raise
            if result:
                await self.history.add(new_id(), job.name, time.monotonic() - begun, result, None)


async def _measured(name: str, work: Callable[[], Awaitable[Result]]) -> Result:
    begun, outcome = time.monotonic(), "failed"
    try:
        result = await work()
        outcome = "done"
        SUCCESS.labels(name).set_to_current_time()
        return result
    finally:
        RUNS.labels(name, outcome).inc()
        SECONDS.labels(name).inc(time.monotonic() - begun)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:1000]
