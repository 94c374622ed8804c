"""One job now, beside the workers: `python -m services.upload.jobs run NAME`, or `list`."""

import asyncio
import json
import sys
from typing import Any

from services.upload.jobs.registry import JobBusy, JobUnknown, Registry
from services.upload.settings import Settings
from services.upload.upkeep import open_upkeep
from shared.settings import load

PATIENCE = 10.0  # seconds for the run of a worker to end


async def _main(arguments: list[str]) -> int:
    async with open_upkeep(load(Settings)) as upkeep:
        match arguments:
            case ["list"]:
                return await _list(upkeep.jobs)
            case ["run", name]:
                return await _run(upkeep.jobs, name)
    return _fail("usage: python -m services.upload.jobs list | run NAME")


async def _list(jobs: Registry) -> int:
    last = await jobs.history.last()
    for job in jobs.jobs.values():
        _say(f"{job.name:<14} every {job.every:>6.0f} s   {_told(last.get(job.name))}\n{'':<14} {job.about}")
    return 0


def _told(run: dict[str, Any] | None) -> str:
    if run is None:
        return "nothing to tell"
    if run["ended_at"] is None:
        return f"runs since {run['started_at']:%Y-%m-%d %H:%M:%S}"
    return f"{run['ended_at']:%Y-%m-%d %H:%M:%S} {run['error'] or json.dumps(run['result'])}"


async def _run(jobs: Registry, name: str) -> int:
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            result = await jobs.run(name)
        except JobUnknown:
            return _fail(f"there is no job {name}; there are: {', '.join(jobs.jobs)}")
        except JobBusy:
            if asyncio.get_running_loop().time() > deadline:
                return _fail(f"{name} is running elsewhere")
            await asyncio.sleep(0.1)
        else:
            _say(json.dumps(result or {}))
            return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _fail(line: str) -> int:
    sys.stderr.write(line + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(sys.argv[1:])))
