"""The real service over real HTTP: PostgreSQL, a disk, and a stand-in for billing's one answer."""

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI

from deploy.local.ports import free_port
from services.upload.main import create
from services.upload.settings import Settings
from services.upload.upkeep import Upkeep, open_upkeep
from shared.errors import DomainError
from shared.http import problems
from shared.http.server import server_for
from shared.security import Principal, sign
from tests.fixtures.postgres import PostgresServer, ServiceDatabase, query
from tests.fixtures.stores import told

SECRET = "s" * 40
LIMIT = 1_000_000  # bytes


@dataclass
class Upload:
    """A running upload service."""

    url: str
    app: FastAPI
    dsn: ServiceDatabase
    root: Path
    settings: Settings
    http: aiohttp.ClientSession
    server: uvicorn.Server | None = None

    def customer(self, tenant: UUID | None = None) -> "Customer":
        return Customer(self, tenant or uuid4(), uuid4())

    async def account(self, tenant: UUID) -> dict[str, Any]:
        rows = await query(self.dsn.superuser, "SELECT * FROM tenant_storage WHERE tenant_id = $1", tenant)
        return dict(rows[0])

    async def ledger(self, tenant: UUID) -> list[dict[str, Any]]:
        rows = await query(
            self.dsn.superuser, "SELECT * FROM storage_transaction WHERE tenant_id = $1 ORDER BY seq", tenant
        )
        return [dict(row) for row in rows]

    async def busy(self, *, requests: bool = True) -> None:
        """Waits until a request is under way; or, `requests=False`, until none is, also of a client who has gone."""
        assert self.server is not None
        async with asyncio.timeout(20):
            while bool(self.server.server_state.tasks) is not requests:
                await asyncio.sleep(0.01)

    def blobs(self) -> list[Path]:
        return [p for p in self.root.rglob("*") if p.is_file()]


@dataclass
class Customer:
    service: Upload
    tenant: UUID
    user: UUID

    @property
    def token(self) -> str:
        who = Principal(kind="user", user_id=self.user, tenant_id=self.tenant, tenant_slug="t", role="owner")
        return sign(who, secret=self.service.settings.internal_secret, audience="upload", issuer="gateway")

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any, dict[str, str]]:
        headers = {"stowage-internal": self.token, **options.pop("headers", {})}
        if isinstance(data := options.get("data"), bytes) and len(data) > 2**20:
            options["data"] = io.BytesIO(data)  # aiohttp warns of large ones in one piece
        async with self.service.http.request(method, self.service.url + path, headers=headers, **options) as answer:
            body = await answer.read()
            kind = answer.headers.get("content-type", "")
            return (
                answer.status,
                json.loads(body) if "json" in kind and "ndjson" not in kind and body else body,
                {k.lower(): v for k, v in answer.headers.items()},
            )

    async def upload(
        self,
        content: bytes,
        *,
        name: str = "note.txt",
        say: bool = True,
        fields: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in {"category": "documents", **(fields or {})}.items()
        ]
        parts.append(f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n')
        body = "".join(parts).encode() + b"Content-Type: text/plain\r\n\r\n" + content + b"\r\n--b--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=b", **(headers or {})}
        said = {"X-File-Size": str(len(content))} if say else {}
        status, answer, _ = await self.call("POST", "/api/storage/upload", data=body, headers={**said, **headers})
        return status, answer

    async def quota(self) -> dict[str, Any]:
        return (await self.call("GET", "/api/storage/quota"))[1]  # type: ignore[no-any-return]


class Billing:
    """Answers `/internal/entitlements` for any tenant."""

    def __init__(self) -> None:
        self.limit: int | None = LIMIT
        self.max_file: int | None = None
        self.images: int | None = None
        self.plan: str | None = "free"  # None: it knows of none
        self.people: dict[str, list[UUID]] = {}  # what the gateway says of addresses
        self.plans: list[dict[str, Any]] = []
        self.trash_days = 0
        self.asked: list[UUID] = []
        self.url = ""

    def app(self) -> FastAPI:
        router = APIRouter()

        @router.get("/internal/entitlements/{tenant}")
        async def entitlements(tenant: UUID) -> dict[str, Any]:
            self.asked.append(tenant)
            if self.plan is None:
                raise DomainError("no_plan", 404, "There is no plan.")
            names = ("traffic_bytes_month", "images_month", "teams", "members", "projects", "cpu", "memory_bytes")
            limits = {**dict.fromkeys(names), "custom_domains": False, "max_file_bytes": self.max_file}
            limits["images_month"] = self.images
            return {
                "version": 1,
                "plan": self.plan,
                "plan_version": 1,
                "entitlements": {**limits, "storage_bytes": self.limit, "trash_days": self.trash_days},
            }

        @router.get("/api/plans")
        async def plans() -> dict[str, Any]:
            return {"items": self.plans}

        @router.get("/internal/people/{email}/tenants")
        async def people(email: str) -> list[UUID]:
            return self.people.get(email, [])

        app = FastAPI()
        problems.install(app)
        app.include_router(router)
        return app


async def serving(app: FastAPI, settings: Settings) -> AsyncIterator[uvicorn.Server]:
    server = server_for(app, settings)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
        if task.done():
            task.result()
    yield server
    server.should_exit = True
    await task


def beside(service: Upload, billing: "Billing") -> dict[str, str]:
    """The environment of another process of the service, with the worker's role."""
    return {
        **os.environ,
        "MODE": "local",
        "DATABASE_URL": service.dsn.worker,
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "INTERNAL_SECRET": "s" * 40,
        "BASE_URL": "http://127.0.0.1:1",
        "BILLING_URL": billing.url,
        "LOCAL_STORAGE_PATH": str(service.root),
        "SIGNING_SECRET": "k" * 40,
    }


def settings_for(dsn: str, root: Path, billing: str, **changes: Any) -> Settings:
    port = free_port()
    return Settings(
        **{
            "mode": "local",
            "port": port,
            "database_url": dsn,
            "kafka_bootstrap": "127.0.0.1:1",
            "internal_secret": SECRET,
            "base_url": f"http://127.0.0.1:{port}",
            "billing_url": billing,
            "local_storage_path": root,
            "signing_secret": "k" * 40,
            "max_file_size": 2**40,
            "idle_seconds": 1.0,
            **changes,
        }
    )


@pytest.fixture
async def billing() -> AsyncIterator[Billing]:
    found = Billing()
    settings = settings_for("postgresql://nobody@127.0.0.1/none", Path("/nonexistent"), "http://127.0.0.1:1")
    async for _ in serving(found.app(), settings):
        found.url = settings.base_url
        yield found


@pytest.fixture
async def service(
    request: pytest.FixtureRequest, pg: PostgresServer, tmp_path: Path, billing: Billing
) -> AsyncIterator[Upload]:
    """On the local disk; a test may ask for another backend: `parametrize("service", KINDS, indirect=True)`."""
    dsn = pg.create("upload")
    backend = getattr(request, "param", "local")
    store = None if backend == "local" else request.getfixturevalue(f"{backend}_server")
    changes = {} if store is None else told(backend, store, f"test-{uuid4().hex[:12]}")
    settings = settings_for(dsn.app, tmp_path / "store", billing.url, **changes)
    app = create(settings)
    async with aiohttp.ClientSession() as http:
        async for server in serving(app, settings):
            yield Upload(settings.base_url, app, dsn, tmp_path / "store", settings, http, server)


@pytest.fixture
async def upkeep(service: Upload, billing: Billing) -> AsyncIterator[Upkeep]:
    """What the worker does, one step at a time; everything old enough at once."""
    settings = settings_for(service.dsn.worker, service.root, billing.url, reservation_seconds=5, orphan_seconds=0)
    async with open_upkeep(settings) as found:
        yield found
