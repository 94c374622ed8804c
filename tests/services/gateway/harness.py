"""A gateway as a process would run it, with stubs for the services behind it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.main import create
from services.gateway.settings import Settings
from shared.http.lingering import LingeringClose
from shared.http.server import DeadlineProtocol
from shared.security import Principal, verify
from tests.fixtures.postgres import ServiceDatabase

SECRET = "0123456789abcdef0123456789abcdef-tests"
PASSWORD = "correct horse 7"


def make_settings(database: ServiceDatabase, folder: Path, upstream: str, **changes: Any) -> Settings:
    key = folder / "jwt.pem"
    if not key.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key.write_bytes(pem)
    values: dict[str, Any] = {
        "mode": "local",
        "database_url": database.app,
        "database_pool": 5,
        "kafka_bootstrap": "127.0.0.1:1",
        "internal_secret": SECRET,
        "upload_url": upstream,
        "usage_url": upstream,
        "billing_url": upstream,
        "base_url": "http://127.0.0.1:8080",
        "jwt_private_key_file": key,
    }
    return Settings(**(values | changes))


@contextlib.asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """A real server on a free port, as `shared.http.serve` sets it up."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        LingeringClose(app),
        http=DeadlineProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.01)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


@dataclass
class Seen:
    """A request as an upstream got it."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    principal: Principal
    body: bytes = b""
    gone: bool = False

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


Answer = Callable[[Seen, Receive, Send], Awaitable[None]]


@dataclass
class Stub:
    """One application that plays upload, usage and billing, and writes down what reached it."""

    seen: list[Seen] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        token = dict(headers).get("stowage-internal", "")
        principal = verify(token, secret=SECRET, audience=dict(headers).get("x-audience", audience_of(scope["path"])))
        seen = Seen(scope["method"], scope["path"], scope["query_string"].decode(), headers, principal)
        self.seen.append(seen)
        answer = self.answers.get(scope["path"], echo)
        await answer(seen, receive, send)


def audience_of(path: str) -> str:
    if path.startswith(("/api/storage", "/api/images", "/api/user")):
        return "upload"
    return "usage" if "/usage" in path else "billing"


async def echo(seen: Seen, receive: Receive, send: Send) -> None:
    """Reads everything and tells how much it was."""
    seen.body = await read_all(receive)
    await answer_json(send, 200, b'{"bytes": %d}' % len(seen.body))


async def read_all(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def answer_json(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": body})


def json_answer(status: int, body: bytes) -> Answer:
    """Answers without reading the body."""

    async def answer(_seen: Seen, _receive: Receive, send: Send) -> None:
        await answer_json(send, status, body)

    return answer


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


@dataclass
class Person:
    """Somebody signed up through the API."""

    email: str
    access: str
    refresh: str
    user: dict[str, Any]
    tenant: dict[str, Any]

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.access}"}


@dataclass
class Gateway:
    port: int
    http: aiohttp.ClientSession
    stub: Stub
    database: ServiceDatabase
    settings: Settings
    _count: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def sign_up(self, organization: str | None = None, email: str | None = None) -> Person:
        self._count += 1
        email = email or f"person{self._count}@example.test"
        body = {"email": email, "password": PASSWORD, "name": f"Person {self._count}", "organization": organization}
        async with self.http.post(f"{self.url}/api/auth/signup", json=body) as answer:
            made = await answer.json()
            assert answer.status == 201, made
        return Person(email, made["access_token"], made["refresh_token"], made["user"], made["tenant"])

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status and decoded JSON."""
        async with self.http.request(method, self.url + path, **options) as answer:
            return answer.status, (await answer.json(content_type=None) if await answer.read() else None)


@contextlib.asynccontextmanager
async def running_gateway(database: ServiceDatabase, folder: Path, **changes: Any) -> AsyncIterator[Gateway]:
    """`upstream` among the changes replaces the stub's address."""
    stub = Stub()
    async with serving(stub) as upstream_port:
        upstream = changes.pop("upstream", f"http://127.0.0.1:{upstream_port}")
        settings = make_settings(database, folder, upstream, **changes)
        jar = aiohttp.DummyCookieJar()
        async with serving(create(settings)) as port, aiohttp.ClientSession(cookie_jar=jar) as http:
            yield Gateway(port, http, stub, database, settings)
