"""`python -m services.upload.relocation --to NAME [--tenant ID]`: moves files to another store, online."""

import argparse
import asyncio
import json
import sys
from uuid import UUID

from services.upload.blobs.locations import LocationUnknown
from services.upload.jobs.registry import JobBusy
from services.upload.relocation.service import NAME, Moved, Relocator
from services.upload.settings import Settings
from services.upload.upkeep import open_upkeep
from shared.settings import load


async def _main() -> int:
    parser = argparse.ArgumentParser(prog="stowage storage migrate")
    parser.add_argument("--to", required=True, help="the location, by its name")
    parser.add_argument("--tenant", type=UUID, help="of one tenant only")
    asked = parser.parse_args()
    async with open_upkeep(load(Settings)) as upkeep:
        relocator = Relocator(upkeep.database, upkeep.locations, upkeep.accounts)
        try:
            done = await upkeep.jobs.run_alone(NAME, lambda: relocator.run(asked.to, asked.tenant, _tell))
        except JobBusy:
            return _fail("files are being moved already")
        except LocationUnknown:
            return _fail(f"there is no location {asked.to}; there are: {', '.join(upkeep.locations.names)}")
    sys.stdout.write(json.dumps(done) + "\n")
    return 1 if done and done["failed"] else 0


def _tell(moved: Moved) -> None:
    sys.stderr.write(f"\r{moved.files} files, {moved.bytes} bytes, {len(moved.failed)} failed ")
    sys.stderr.flush()


def _fail(line: str) -> int:
    sys.stderr.write(line + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
