"""Jobs by name: one run at a time wherever it runs, no lock left by the dead, a bounded history."""

import asyncio
import signal
import sys

import pytest

from services.upload.jobs.history import KEPT
from services.upload.jobs.registry import Job, JobBusy, JobUnknown, Registry
from services.upload.upkeep import open_upkeep
from shared.db import Database, turn
from shared.db.migrate import ROOT
from tests.fixtures.postgres import PostgresServer, query
from tests.services.upload.conftest import Billing, Upload, beside, settings_for


async def test_one_at_a_time_in_two_workers(pg: PostgresServer) -> None:
    dsn, running, most = pg.create("upload"), 0, 0

    async def work() -> dict[str, int]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return {"done": 1}

    job = Job("work", 0.001, work, "counts")
    async with Database(dsn.worker) as first, Database(dsn.worker) as second:
        turns = [Registry(database, [job]).periodic()[0].run for database in (first, second)]
        for _ in range(20):
            await asyncio.gather(*(turn() for turn in turns))
    runs = await query(dsn.superuser, "SELECT * FROM job_run")
    assert most == 1
    assert 20 <= len(runs) < 40
    assert all(run["ended_at"] and not run["error"] for run in runs)


async def test_all_at_once_need_few_connections(service: Upload, billing: Billing) -> None:
    """As when a worker starts."""
    settings = settings_for(service.dsn.worker, service.root, billing.url, database_pool=2)
    async with open_upkeep(settings) as upkeep:
        async with asyncio.timeout(30):
            await asyncio.gather(*(upkeep.jobs.run(name) for name in upkeep.jobs.jobs))
        last = await upkeep.jobs.history.last()
        assert last.keys() == upkeep.jobs.jobs.keys()
        assert [name for name, run in last.items() if run["error"] or run["ended_at"] is None] == []


async def test_history_says_what_was_done_and_what_failed_and_is_bounded(pg: PostgresServer) -> None:
    dsn = pg.create("upload")
    answers: list[dict[str, int] | None] = [{"files": 1}, None]

    async def work() -> dict[str, int] | None:
        if not answers:
            raise OSError("the disk is gone")
        await asyncio.sleep(0.002)  # runs are told apart by the millisecond
        return answers.pop(0)

    async with Database(dsn.worker) as database:
        registry = Registry(database, [Job("work", 1, work, "")])
        turn = registry.periodic()[0].run
        await turn()
        await turn()
        with pytest.raises(OSError, match="the disk"):
            await turn()
        rows = await query(dsn.superuser, "SELECT result, error FROM job_run ORDER BY id")
        assert [(row["result"], row["error"]) for row in rows] == [
            ('{"files": 1}', None),
            (None, "OSError: the disk is gone"),
        ]
        answers[:] = [{"files": number} for number in range(KEPT + 5)]
        for _ in range(KEPT + 5):
            await turn()
        assert (await registry.history.last())["work"]["result"] == {"files": KEPT + 4}
    assert (await query(dsn.superuser, "SELECT count(*) FROM job_run"))[0][0] == KEPT


async def test_by_name(pg: PostgresServer) -> None:
    dsn = pg.create("upload")

    async def idle() -> None:
        return None

    async with Database(dsn.worker) as database, Database(dsn.worker) as other:
        registry = Registry(database, [Job("idle", 1, idle, "")])
        await registry.run("idle")
        assert (await registry.history.last())["idle"]["result"] == {}  # asked for: it is noted all the same
        with pytest.raises(JobUnknown):
            await registry.run("nothing")
        async with turn(other, "job idle") as mine:
            assert mine is not None
            with pytest.raises(JobBusy):
                await registry.run("idle")


async def test_a_dead_process_leaves_no_lock_and_is_said_to_have_died(service: Upload, billing: Billing) -> None:
    environment = beside(service, billing)
    script = (
        "import asyncio, os, signal\n"
        "from services.upload.jobs.registry import Job, Registry\n"
        "from shared.db import Database\n"
        "async def die(): os.kill(os.getpid(), signal.SIGKILL)\n"
        "async def main():\n"
        "    async with Database(os.environ['DATABASE_URL']) as database:\n"
        "        await Registry(database, [Job('garbage', 1, die, '')]).run('garbage')\n"
        "asyncio.run(main())\n"
    )
    died = await asyncio.create_subprocess_exec(sys.executable, "-c", script, cwd=ROOT, env=environment)
    assert await died.wait() == -signal.SIGKILL
    ran = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.upload.jobs", "run", "garbage"),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await ran.communicate()
    assert (ran.returncode, out) == (0, b"{}\n")
    rows = await query(service.dsn.superuser, "SELECT ended_at, error FROM job_run ORDER BY id")
    assert [row["error"] for row in rows] == ["its process died", None]
    assert all(row["ended_at"] for row in rows)
