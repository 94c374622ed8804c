"""Counters folded again from the ledgers: `python -m services.usage.rebuild [TENANT] [--dry-run] [--json]`."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from services.usage.counters.service import CounterService
from services.usage.live.service import CHANNEL
from services.usage.rebuild.provider import UploadFolds
from services.usage.rebuild.rules import Difference
from services.usage.rebuild.service import Outcome, Rebuilder
from services.usage.settings import Settings
from services.usage.thresholds.service import ThresholdService
from shared.clock import SystemClock
from shared.db import Database
from shared.errors import DomainError
from shared.http import ServiceClient
from shared.outbox import Wake
from shared.settings import load


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="stowage usage rebuild", description="Folds the ledgers again and puts right the counters that differ."
    )
    parser.add_argument("tenant", nargs="?", type=UUID, help="its id; all tenants without one")
    parser.add_argument("--dry-run", action="store_true", help="only compare")
    parser.add_argument("--json", action="store_true", help="for programs")
    told = parser.parse_args(arguments)
    try:
        return asyncio.run(_run(load(Settings), told.tenant, repair=not told.dry_run, as_json=told.json))
    except DomainError as error:
        sys.stderr.write(f"stowage: {error.detail}\n")
        return 2


async def _run(settings: Settings, tenant: UUID | None, *, repair: bool, as_json: bool) -> int:
    begun = time.perf_counter()
    async with _opened(settings) as rebuilder:
        outcome = await rebuilder.run(tenant, "asked for at the command line", repair=repair)
    seconds = time.perf_counter() - begun
    sys.stdout.write(_json(outcome, seconds) if as_json else _text(outcome, seconds, repair=repair))
    left = outcome.done.differing - outcome.done.repaired
    return 1 if left or outcome.ahead else 0


def _text(outcome: Outcome, seconds: float, *, repair: bool) -> str:
    done = outcome.done
    lines = [_line(difference) for difference in outcome.differences]
    if outcome.more:
        lines.append(f"… and {outcome.more} more differences")
    lines += [f"{a.tenant_id}  ledger ends at {a.folded}, counted up to {a.counted}" for a in outcome.ahead]
    put_right = f", {done.repaired} put right" if repair else ""
    rate = done.entries / seconds
    lines.append(f"{done.tenants} tenants, {done.entries} entries in {seconds:.1f} s ({rate:,.0f} a second)")
    lines.append(f"{done.differing} differ{put_right}, {done.ahead} are ahead of their ledgers")
    return "".join(f"{line}\n" for line in lines)


def _line(difference: Difference) -> str:
    what = " ".join((difference.part, *difference.key))
    ledger, counted = difference.ledger, difference.counted
    return (
        f"{difference.tenant_id}  {what}: ledger {ledger.bytes} bytes in {ledger.files}, "
        f"counters {counted.bytes} in {counted.files}, at {difference.position}"
    )


def _json(outcome: Outcome, seconds: float) -> str:
    document = {
        **outcome.done.model_dump(mode="json"),
        "seconds": round(seconds, 3),
        "differences": [{"tenant_id": str(d.tenant_id), **d.document()} for d in outcome.differences],
        "more": outcome.more,
        "ahead_tenants": [str(a.tenant_id) for a in outcome.ahead],
    }
    return json.dumps(document) + "\n"


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Rebuilder]:
    name = settings.service_name
    database = Database(settings.database_url, pool_size=2, application_name=f"{name}-rebuild")
    upload = ServiceClient(settings.upload_url, settings.internal_secret, issuer=name, audience="upload")
    counters = CounterService(ThresholdService(), SystemClock(), slack=settings.threshold_slack)
    changed, outbox = Wake(database, CHANNEL), Wake(database)
    async with database, upload:
        yield Rebuilder(
            database,
            UploadFolds(upload),
            counters,
            SystemClock(),
            changed=lambda tenant: changed.set(str(tenant)),
            announced=outbox.set,
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
