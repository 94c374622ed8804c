"""Billing and the sandbox provider, put together over real HTTP."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import orjson
from fastapi import FastAPI

from deploy.local.ports import free_port
from deploy.sandbox_payments.app import Provider
from deploy.sandbox_payments.app import create as create_sandbox
from deploy.sandbox_payments.callbacks import Courier
from services.billing.details.parties import Seller
from services.billing.main import create
from services.billing.payments.janitor import Janitor
from services.billing.payments.processing import CallbackWorker
from services.billing.settings import Settings
from services.billing.wiring import Core, build_core
from services.billing.worker import work_off
from shared.security import Principal, sign
from tests.fixtures.postgres import ServiceDatabase, query
from tests.services.billing.door import SECRET, Door, open_door
from tests.services.billing.serving import served

API_KEY = "sandbox-key-of-the-tests"
KEY = "whsec_" + base64.b64encode(b"newest key of these tests, 32+ b").decode()
OLD_KEY = "whsec_" + base64.b64encode(b"older key, valid for a few days.").decode()
SERVICE = Principal(kind="service")
FONTS = Path(__file__).resolve().parents[3] / ".cache" / "fonts"
SELLER = Seller(
    name="Stowage Storage GmbH",
    street="Lindenstraße 12",
    postal_code="10969",
    city="Berlin",
    country="DE",
    vat_id="DE136695976",
    registration="HRB 12345 B",
    email="billing@stowage.example",
)


@dataclass(frozen=True)
class Team:
    tenant: UUID = field(default_factory=uuid4)
    slug: str = "ada"
    role: str = "owner"

    @property
    def principal(self) -> Principal:
        role: Any = self.role
        return Principal(kind="user", user_id=uuid4(), tenant_id=self.tenant, tenant_slug=self.slug, role=role)


@dataclass
class World:
    url: str
    sandbox: str
    door: Door
    dsn: ServiceDatabase
    http: aiohttp.ClientSession
    core: Core
    janitor: Janitor
    callbacks: CallbackWorker
    app: FastAPI

    def vouch(self, who: Principal) -> str:
        """As the gateway does."""
        return sign(who, secret=SECRET, audience="billing", issuer="gateway")

    async def call(self, method: str, path: str, body: Any = None, *, who: Principal) -> tuple[int, Any]:
        headers = {"stowage-internal": self.vouch(who)}
        async with self.http.request(method, self.url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def initiate(self, team: Team, **changes: Any) -> tuple[int, Any]:
        body = {"plan": "pro", "method": "credit_card", **changes}
        return await self.call("POST", f"/api/payments/{team.slug}/initiate", body, who=team.principal)

    async def started(self, team: Team) -> dict[str, Any]:
        status, body = await self.initiate(team)
        assert status == 201, body
        return dict(body)

    async def status(self, team: Team, payment: dict[str, Any]) -> dict[str, Any]:
        status, body = await self.call("GET", f"/api/payments/{payment['payment_id']}/status", who=team.principal)
        assert status == 200, body
        return dict(body)

    async def subscription(self, team: Team) -> dict[str, Any]:
        status, body = await self.call("GET", "/api/subscription", who=team.principal)
        assert status == 200, body
        return dict(body)

    async def until(self, team: Team, payment: dict[str, Any], ready: Callable[[dict[str, Any]], bool]) -> Any:
        async with asyncio.timeout(15):
            while True:
                seen = await self.status(team, payment)
                if ready(seen) and all(c["verdict"] != "received" for c in seen["callbacks"]):
                    return seen
                await asyncio.sleep(0.02)

    async def behave(self, **switches: Any) -> None:
        async with self.http.post(f"{self.sandbox}/sandbox/behaviour", json=switches) as answer:
            assert answer.status == 200, await answer.text()

    async def press(self, payment: dict[str, Any], action: str = "pay") -> None:
        async with self.http.post(
            f"{self.sandbox}/sandbox/payments/{payment['external_payment_id']}/{action}"
        ) as answer:
            assert answer.status == 200, await answer.text()

    async def callback(
        self,
        body: dict[str, Any] | bytes,
        *,
        event: str | None = None,
        age: float = 0,
        key: str = KEY,
        signature: str | None = None,
    ) -> tuple[int, Any]:
        """One callback of the tests' own making, signed as the provider does."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        event, stamp = event or f"evt_{uuid4().hex}", str(int(time.time() - age))
        headers = {
            "webhook-id": event,
            "webhook-timestamp": stamp,
            "webhook-signature": signature or signed(key, event, stamp, raw),
            "stowage-internal": sign(Principal(), secret=SECRET, audience="billing", issuer="gateway"),
        }
        async with self.http.post(f"{self.url}/api/payments/callback", data=raw, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def events(self, team: Team) -> list[str]:
        rows = await query(
            self.dsn.worker, "SELECT type FROM outbox_event WHERE tenant_id = $1 ORDER BY topic, seq", team.tenant
        )
        return [row["type"] for row in rows]


def signed(key: str, event: str, stamp: str, raw: bytes) -> str:
    secret = base64.b64decode(key.removeprefix("whsec_"))
    mac = hmac.digest(secret, f"{event}.{stamp}.".encode() + raw, hashlib.sha256)
    return f"v1,{base64.b64encode(mac).decode()}"


def told(payment: dict[str, Any], status: str = "completed", **changes: Any) -> dict[str, Any]:
    """The body of a callback about `payment`."""
    data = {
        "external_payment_id": payment["external_payment_id"],
        "payment_id": payment["payment_id"],
        "status": status,
        "amount": "3.00",
        "currency": "EUR",
        "transaction_id": "txn_1",
        "occurred_at": "2026-03-01T00:00:00Z",
        **changes,
    }
    return {"type": f"payment.{status}", "data": data}


def settings(dsn: str, sandbox: str, base_url: str, **changes: Any) -> Settings:
    elsewhere: dict[str, Any] = {
        "invoice_seller": SELLER,
        "invoice_fonts": FONTS,
        "usage_url": "http://127.0.0.1:1",
    }
    return Settings(
        mode="local",
        database_url=dsn,
        kafka_bootstrap="",
        internal_secret=SECRET,
        base_url=base_url,
        payment_backend_url=sandbox,
        payment_api_key=API_KEY,
        payment_signing_secrets=f"{KEY},{OLD_KEY}",
        **({"provider_seconds": 2, "janitor_seconds": 5, **elsewhere} | changes),
    )


@asynccontextmanager
async def running(dsn: ServiceDatabase, *, backend: str | None = None, **changes: Any) -> AsyncIterator[World]:
    """The HTTP process and the inbox's worker; the janitor runs when a test says so. `backend` is another provider,
    `changes` are settings.
    """
    port = free_port()
    courier = Courier(KEY, pause=0.02)
    provider = Provider(api_key=API_KEY, courier=courier, base_url=f"http://127.0.0.1:{port}", folder=None)
    async with open_door() as door, served(create_sandbox(provider), port) as sandbox:
        told_app = settings(dsn.app, backend or sandbox, door.url, **changes)
        core = build_core(settings(dsn.worker, backend or sandbox, door.url, **changes), "billing-worker")
        app = create(told_app)
        async with served(app) as url, core.database, aiohttp.ClientSession() as http:
            door.service = url
            callbacks = CallbackWorker(core.database, core.settlement, core.envelopes, core.clock, core.wake.set)
            janitor = Janitor(
                core.database, core.payments, core.settlement, core.providers, core.clock, first=5, wake=core.wake.set
            )
            working = asyncio.create_task(work_off(core, callbacks))
            yield World(url, sandbox, door, dsn, http, core, janitor, callbacks, app)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await core.providers.close()
