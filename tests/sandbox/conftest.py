"""The sandbox provider as a customer's backend and its payers meet it."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web

from deploy.local.ports import free_port
from deploy.sandbox_payments.app import Provider, create
from deploy.sandbox_payments.callbacks import Courier
from tests.services.billing.serving import served

API_KEY = "key-of-the-sandbox-tests"
SECRET = "whsec_" + base64.b64encode(b"a key of the sandbox's own tests").decode()


@dataclass
class Shop:
    """Takes callbacks; `answers` are its next statuses, then always 202."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[tuple[str, bool, dict[str, Any]]] = field(default_factory=list)  # (event id, signature good, body)

    async def take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        event, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        mac = hmac.digest(key, f"{event}.{stamp}.".encode() + raw, hashlib.sha256)
        good = request.headers["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"
        self.got.append((event, good, await request.json()))
        return web.Response(status=self.answers.pop(0) if self.answers else 202)


@dataclass
class Sandbox:
    url: str
    shop: Shop
    http: aiohttp.ClientSession

    async def initiate(self, *, key: str = API_KEY, **changes: Any) -> tuple[int, Any]:
        order = {
            "payment_id": str(uuid4()),
            "team": "ada",
            "amount": "3.00",
            "currency": "EUR",
            "method": "credit_card",
            "description": "Stowage Pro",
            "callback_url": self.shop.url,
            "return_url": "http://127.0.0.1:1/app",
            "metadata": {},
            **changes,
        }
        return await self.call("POST", "/api/v1/payments/initiate", order, key=key)

    async def call(self, method: str, path: str, body: Any = None, *, key: str = API_KEY) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        async with self.http.request(method, self.url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def shop() -> AsyncIterator[Shop]:
    made = Shop()
    app = web.Application()
    app.router.add_post("/callback", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/callback"
    yield made
    await runner.cleanup()


@asynccontextmanager
async def sandbox_at(folder: Path | None, taker: Shop) -> AsyncIterator[Sandbox]:
    port = free_port()
    provider = Provider(
        api_key=API_KEY, courier=Courier(SECRET, pause=0.02), base_url=f"http://127.0.0.1:{port}", folder=folder
    )
    async with served(create(provider), port) as url, aiohttp.ClientSession() as http:
        yield Sandbox(url, taker, http)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with shop() as taker, sandbox_at(None, taker) as started:
        yield started
