"""The provider's API (S4.6), its page for people, and its switches."""

import hmac
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import segno
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from deploy.sandbox_payments.book import Behaviour, Book, Payment
from deploy.sandbox_payments.callbacks import Courier

templates = Jinja2Templates(Path(__file__).parent / "templates")

ENDS = {"pay": "completed", "fail": "failed", "cancel": "cancelled"}
_ORDER = ("payment_id", "team", "amount", "currency", "method", "description", "callback_url", "return_url")


class Provider:
    """All of it. `base_url` is how people and the customer's backend reach it."""

    def __init__(self, *, api_key: str, secret: str, base_url: str, folder: Path | None) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self.book = Book(folder)
        self.courier = Courier(secret)

    async def initiate(self, request: Request) -> Response:
        if not self._knows(request):
            return _refuse(401, "unknown API key")
        body = await request.json()
        if not all(isinstance(body.get(name), str) for name in _ORDER):
            return _refuse(422, f"wanted as text: {', '.join(_ORDER)}")
        if not _is_loopback(body["callback_url"]):
            return _refuse(422, "the sandbox calls back on this machine only")
        payment = self.book.create(**{name: body[name] for name in _ORDER})
        url = f"{self._base_url}/pay/{payment.external_payment_id}"
        code = segno.make(url, error="m").svg_data_uri(scale=4)
        return JSONResponse({**payment.public(), "payment_url": url, "qr_code": code}, 201)

    async def status(self, request: Request) -> Response:
        if not self._knows(request):
            return _refuse(401, "unknown API key")
        payment = self._payment(request)
        return _refuse(404, "no such payment") if payment is None else JSONResponse(payment.public())

    async def cancel(self, request: Request) -> Response:
        if not self._knows(request):
            return _refuse(401, "unknown API key")
        payment = self._payment(request)
        if payment is None:
            return _refuse(404, "no such payment")
        return JSONResponse(self._end(payment, "cancelled").public())

    async def page(self, request: Request) -> Response:
        payment = self._payment(request)
        code = None
        if payment is not None:
            url = f"{self._base_url}/pay/{payment.external_payment_id}"
            code = segno.make(url, error="m").svg_data_uri(scale=4, dark="#17212b", light="#ffffff")
        status = 200 if payment else 404
        return templates.TemplateResponse(request, "pay.html", {"payment": payment, "code": code}, status_code=status)

    async def press(self, request: Request) -> Response:
        payment = self._payment(request)
        action = (await request.form()).get("action")
        if payment is None or action not in ENDS:
            return _refuse(404, "no such payment")
        self._end(payment, ENDS[str(action)])
        return RedirectResponse(payment.return_url, 303)

    async def behave(self, request: Request) -> Response:
        body = await request.json()
        payment_id = body.pop("payment_id", None)
        unknown = set(body) - {field.name for field in fields(Behaviour)}
        if unknown:
            return _refuse(422, f"unknown switches: {', '.join(sorted(unknown))}")
        self.book.set_behaviour(Behaviour(**body), payment_id)
        return JSONResponse({"behaviour": body, "payment_id": payment_id})

    async def act(self, request: Request) -> Response:
        payment = self._payment(request)
        action = request.path_params["action"]
        if payment is None or action not in ENDS:
            return _refuse(404, "no such payment or action")
        return JSONResponse(self._end(payment, ENDS[action]).public())

    async def redeliver(self, request: Request) -> Response:
        payment = self._payment(request)
        if payment is None:
            return _refuse(404, "no such payment")
        return JSONResponse({"events": self.courier.redeliver(payment)})

    def _end(self, payment: Payment, status: str) -> Payment:
        if not payment.open:
            return payment
        done = self.book.close(payment, status)
        self.courier.announce(done, self.book.behaviour_of(done))
        return done

    def _payment(self, request: Request) -> Payment | None:
        return self.book.find(request.path_params["id"])

    def _knows(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), self._api_key.encode())


def create(provider: Provider) -> Starlette:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await provider.courier.close()

    post, get = ["POST"], ["GET"]
    routes: list[tuple[str, Callable[[Request], Any], list[str]]] = [
        ("/api/v1/payments/initiate", provider.initiate, post),
        ("/api/v1/payments/{id}/status", provider.status, get),
        ("/api/v1/payments/{id}/cancel", provider.cancel, post),
        ("/pay/{id}", provider.page, get),
        ("/pay/{id}", provider.press, post),
        ("/sandbox/behaviour", provider.behave, post),
        ("/sandbox/payments/{id}/{action}", provider.act, post),
        ("/sandbox/redeliver/{id}", provider.redeliver, post),
        ("/healthz", _healthy, get),
        ("/readyz", _healthy, get),
    ]
    return Starlette(routes=[Route(path, work, methods=methods) for path, work, methods in routes], lifespan=lifespan)


def from_environment() -> Provider:
    folder = os.environ.get("SANDBOX_HOME")
    port = os.environ["PORT"]
    return Provider(
        api_key=os.environ["PAYMENT_API_KEY"],
        secret=os.environ["PAYMENT_SIGNING_SECRETS"].split(",")[0].strip(),
        base_url=os.environ.get("SANDBOX_URL", f"http://127.0.0.1:{port}"),
        folder=Path(folder) if folder else None,
    )


async def _healthy(_request: Request) -> Response:
    return JSONResponse({"status": "ready"})


def _refuse(status: int, why: str) -> JSONResponse:
    return JSONResponse({"error": why}, status)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        # In a compose network the gateway has a name; whoever runs it there says so.
        return host in os.environ.get("SANDBOX_CALLBACK_HOSTS", "").split(",") and bool(host)
