"""A local server that speaks Stripe's API as far as payments need it: forms in, idempotency, errors, objects out."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web

KEY = "sk_test_of_these_tests"


@dataclass
class StripeServer:
    """`trouble`: (status, type) of the next answers, or "silent", "garbage"."""

    url: str = ""
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    forms: list[dict[str, str]] = field(default_factory=list)
    keys: dict[str, tuple[dict[str, str], dict[str, Any]]] = field(default_factory=dict)
    trouble: Any = None
    page: int = 100  # refunds listed at once, at most

    async def answer(self, request: web.Request) -> web.Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return refuse(401, "invalid_request_error", "no such key")
        form = {name: str(value) for name, value in (await request.post()).items()}
        if self.trouble == "silent":
            # Done, and never answered.
            await self._do(request, form)
            await asyncio.sleep(30)
        if self.trouble == "garbage":
            return web.Response(text="<html>", status=200)
        if self.trouble is not None:
            return refuse(*self.trouble)
        return await self._do(request, form)

    async def _do(self, request: web.Request, form: dict[str, str]) -> web.Response:  # noqa: PLR0911 - its addresses
        key = request.headers.get("idempotency-key", "")
        if key in self.keys:
            known, made = self.keys[key]
            if known != form:
                return refuse(400, "idempotency_error", "another request")
            return web.json_response(made)
        match request.method, request.path.removeprefix("/v1/").split("/"):
            case "POST", ["checkout", "sessions"]:
                self.forms.append(form)
                made = session_of(self.url, form)
                self.sessions[made["id"]] = made
            case "GET", ["checkout", "sessions", name] if name in self.sessions:
                made = self.expanded(name)
                return web.json_response(made)
            case "POST", ["checkout", "sessions", name, "expire"] if name in self.sessions:
                if self.sessions[name]["status"] != "open":
                    return refuse(400, "invalid_request_error", "only open sessions expire")
                made = self.sessions[name]
                made["status"] = "expired"
            case "GET", ["refunds"]:
                intent = request.query["payment_intent"]
                found = [r for r in reversed(self.refunds.values()) if r["payment_intent"] == intent]  # newest first
                names, after = [refund["id"] for refund in found], request.query.get("starting_after")
                rest = found[names.index(after) + 1 :] if after else found
                page = {"data": rest[: self.page], "has_more": len(rest) > self.page}
                return web.json_response({"object": "list", "url": "/v1/refunds", **page})
            case "POST", ["refunds"]:
                self.forms.append(form)
                if int(form["amount"]) + self.given(form["payment_intent"]) > self.paid(form["payment_intent"]):
                    return refuse(400, "invalid_request_error", "more than was charged")
                about = {"payment_intent": form["payment_intent"], "amount": int(form["amount"])}
                told = metadata_of(form)
                made = {"id": f"re_{uuid4().hex}", "object": "refund", "status": "succeeded", "metadata": told, **about}
                self.refunds[made["id"]] = made
            case _:
                return refuse(404, "invalid_request_error", "no such thing")
        self.keys[key] = (form, made)
        return web.json_response(made)

    def expanded(self, name: str) -> dict[str, Any]:
        session = self.sessions[name]
        intent = session["payment_intent"]
        told = {"id": intent, "object": "payment_intent", "status": session.get("intent", "succeeded")}
        return {**session, "payment_intent": told if intent else None}

    def pay(self, name: str, payment_status: str = "paid") -> dict[str, Any]:
        session = self.sessions[name]
        session.update(status="complete", payment_status=payment_status, payment_intent=f"pi_{uuid4().hex[:24]}")
        return session

    def paid(self, intent: str) -> int:
        return sum(int(s["amount_total"]) for s in self.sessions.values() if s["payment_intent"] == intent)

    def given(self, intent: str) -> int:
        return sum(int(r["amount"]) for r in self.refunds.values() if r["payment_intent"] == intent)


def session_of(url: str, form: dict[str, str]) -> dict[str, Any]:
    name = f"cs_test_{uuid4().hex}"
    return {
        "id": name,
        "object": "checkout.session",
        "url": f"{url}/c/pay/{name}",
        "status": "open",
        "payment_status": "unpaid",
        "payment_intent": None,
        "client_reference_id": form["client_reference_id"],
        "amount_total": int(form["line_items[0][price_data][unit_amount]"]),
        "currency": form["line_items[0][price_data][currency]"],
        "metadata": metadata_of(form),
    }


def metadata_of(form: dict[str, str]) -> dict[str, str]:
    return {key[9:-1]: value for key, value in form.items() if key.startswith("metadata[")}


def event_of(session: dict[str, Any], kind: str = "checkout.session.completed") -> dict[str, Any]:
    return {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "type": kind,
        "created": int(time.time()),
        "data": {"object": session},
    }


def refuse(status: int, kind: str, message: str) -> web.Response:
    return web.json_response({"error": {"type": kind, "message": message}}, status=status)


@asynccontextmanager
async def stripe_server() -> AsyncIterator[StripeServer]:
    made = StripeServer()
    app = web.Application()
    app.router.add_route("*", "/v1/{path:.*}", made.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()
