"""Ledger, counters and store of one tenant or of all: `python -m services.usage.proof [TENANT] [--json]`."""

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from services.usage.counters.reader import CounterReader
from services.usage.counters.service import CounterService
from services.usage.entitlements.provider import Billing
from services.usage.entitlements.service import EntitlementService
from services.usage.live.service import Changes, LiveUsage
from services.usage.proof.provider import UploadLedger
from services.usage.proof.schemas import ProofOut
from services.usage.proof.service import ProofService
from services.usage.settings import Settings
from services.usage.thresholds.service import ThresholdService
from shared.clock import SystemClock
from shared.db import Database
from shared.errors import DomainError
from shared.http import ServiceClient
from shared.outbox import Wake
from shared.settings import load

_TENANTS = "SELECT tenant_id FROM tenant_usage ORDER BY tenant_id"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="stowage proof", description="Compares ledger, counters and store.")
    parser.add_argument("tenant", nargs="?", type=UUID, help="its id; all tenants without one")
    parser.add_argument("--json", action="store_true", help="a line a tenant, for programs")
    told = parser.parse_args(arguments)
    return asyncio.run(_prove(load(Settings), told.tenant, as_json=told.json))


async def _prove(settings: Settings, tenant: UUID | None, *, as_json: bool) -> int:
    async with _opened(settings) as (database, proof):
        tenants = [tenant] if tenant else await _all(database)
        different = 0
        for number, one in enumerate(tenants, 1):
            try:
                found = await proof.prove(one)
            except DomainError as error:
                different += 1
                _say({"tenant": str(one), "error": error.code} if as_json else f"{one}  {error.detail}")
                continue
            different += not found.equal
            _say({"tenant": str(one), **found.model_dump(mode="json")} if as_json else f"{one}  {_told(found)}")
            if number % 100 == 0 and not as_json:
                sys.stderr.write(f"{number} of {len(tenants)}\n")
    if not as_json:
        _say(f"{len(tenants)} tenants, {different} differ")
    return 1 if different else 0


def _told(found: ProofOut) -> str:
    sums = f"position {found.position}  {found.ledger.bytes} bytes in {found.ledger.files} files"
    if found.equal:
        return f"{sums}  equal"
    told = {"ledger": found.ledger, "counters": found.counters, "store": found.store}
    parts = ", ".join(f"{name} {amount.bytes} in {amount.files}" for name, amount in told.items())
    return f"{sums}  DIFFERENT: {parts}, missing {len(found.store.missing)}"


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Database, ProofService]]:
    name = settings.service_name
    database = Database(settings.database_url, pool_size=2, application_name=f"{name}-proof")
    upload = ServiceClient(settings.upload_url, settings.internal_secret, issuer=name, audience="upload")
    billing = ServiceClient(settings.billing_url, settings.internal_secret, issuer=name, audience="billing")
    counters = CounterService(ThresholdService(), SystemClock(), slack=settings.threshold_slack)
    reader = CounterReader(database, EntitlementService(database, Billing(billing), counters, Wake(database).set))
    changes = Changes(settings.database_url)
    async with database, upload, billing:
        listening = asyncio.create_task(changes.run())
        yield database, ProofService(reader, LiveUsage(reader, changes), UploadLedger(upload))
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


async def _all(database: Database) -> list[UUID]:
    async with database.transaction() as connection:
        return [row["tenant_id"] for row in await connection.fetch(_TENANTS)]


def _say(line: object) -> None:
    sys.stdout.write((line if isinstance(line, str) else json.dumps(line)) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
