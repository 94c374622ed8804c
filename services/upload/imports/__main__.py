"""`python -m services.upload.imports --tenant ID --location NAME …`: adopts an existing folder or bucket."""

import argparse
import asyncio
import json
import sys
from uuid import UUID

from services.upload.imports.open import open_importer
from services.upload.imports.service import NAME, Adopted, Source
from services.upload.jobs.registry import JobBusy
from services.upload.settings import Settings
from services.upload.upkeep import open_upkeep
from shared.errors import DomainError
from shared.settings import load


async def _main() -> int:
    asked = _parser().parse_args()
    source = Source(asked.tenant, asked.location, asked.prefix, asked.category, not asked.allow_over, asked.dry_run)
    settings = load(Settings)
    async with open_upkeep(settings) as upkeep:
        importer = open_importer(settings, upkeep)
        try:
            done = await upkeep.jobs.run_alone(NAME, lambda: importer.setup_storage_usage_tracking(source, _tell))
        except JobBusy:
            return _fail("an import is under way already")
        except DomainError as error:
            return _fail(error.detail)
    sys.stdout.write(json.dumps(done) + "\n")
    return 1 if done and (done["full"] is not None or done["skipped"]) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stowage storage import")
    parser.add_argument("--tenant", type=UUID, required=True, help="whose files they become, by id")
    parser.add_argument("--location", required=True, help="the location they lie in, by its name")
    parser.add_argument("--prefix", default="", help="only what lies below it (default: everything)")
    parser.add_argument("--category", default="documents", help="of the files (default: documents)")
    over = parser.add_mutually_exclusive_group()
    over.add_argument("--enforce", action="store_true", help="end where the plan ends (the default)")
    over.add_argument("--allow-over", action="store_true", help="count everything, even above the plan")
    parser.add_argument("--dry-run", action="store_true", help="say what would happen")
    return parser


def _tell(done: Adopted) -> None:
    sys.stderr.write(f"\r{done.files} files, {done.bytes} bytes, {done.known} known, {len(done.skipped)} skipped ")
    sys.stderr.flush()


def _fail(line: str) -> int:
    sys.stderr.write(line + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
