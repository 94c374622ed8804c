"""The upload service as a process of its own, with what it needs around it and one customer without limits."""

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from services.upload.settings import Settings
from shared.security import Principal, sign
from tests.fixtures.postgres import PostgresServer, ServiceDatabase
from tests.services.upload.conftest import SECRET, Billing, serving, settings_for
from tests.services.upload.process import Process, running


@dataclass(frozen=True)
class Service:
    process: Process
    dsn: ServiceDatabase
    root: Path
    settings: Settings
    tenant: UUID

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def headers(self) -> dict[str, str]:
        return self.headers_of(self.tenant)

    def headers_of(self, tenant: UUID) -> dict[str, str]:
        who = Principal(kind="user", user_id=tenant, tenant_id=tenant, tenant_slug="bench", role="owner")
        token = sign(who, secret=SECRET, audience="upload", issuer="gateway", lifetime=3600)
        return {"stowage-internal": token}

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """To its database, which sees every customer's rows."""
        connection: Any = await asyncpg.connect(self.dsn.superuser)
        await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def service(pg: PostgresServer, **changes: Any) -> AsyncIterator[Service]:
    """On the local disk, unless `changes` of its settings name another store."""
    billing, tenant = Billing(), uuid4()
    billing.limit = None
    with tempfile.TemporaryDirectory(prefix="stowage-bench-store-") as folder:
        root, dsn = Path(folder), pg.create("upload")
        stub = settings_for("postgresql://nobody@127.0.0.1/none", root, "http://127.0.0.1:1")
        async for _ in serving(billing.app(), stub):
            settings = settings_for(dsn.app, root / "store", stub.base_url, **changes)
            async with aiohttp.ClientSession() as http, running(settings, http) as process:
                found = Service(process, dsn, root / "store", settings, tenant)
                async with http.get(f"{found.url}/api/storage/quota", headers=found.headers) as answer:
                    assert answer.status == 200, await answer.text()
                yield found
