"""The gateway, as far as callbacks need one: it vouches for an anonymous caller, or is away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from shared.security import Principal, sign

SECRET = "0123456789abcdef0123456789abcdef"


@dataclass
class Door:
    """`away`: how many callbacks it still answers with 503."""

    url: str = ""
    service: str = ""
    away: int = 0
    answers: list[int] = field(default_factory=list)


@asynccontextmanager
async def open_door() -> AsyncIterator[Door]:
    door = Door()

    async def pass_on(request: web.Request) -> web.Response:
        if door.away:
            door.away -= 1
            return web.Response(status=503)
        headers = {name: value for name, value in request.headers.items() if name.lower().startswith("webhook-")}
        headers["stowage-internal"] = sign(Principal(), secret=SECRET, audience="billing", issuer="gateway")
        body = await request.read()
        async with (
            aiohttp.ClientSession() as http,
            http.post(door.service + request.path, data=body, headers=headers) as answer,
        ):
            door.answers.append(answer.status)
            return web.Response(status=answer.status, body=await answer.read())

    app = web.Application()
    app.router.add_post("/api/payments/callback", pass_on)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    door.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield door
    await runner.cleanup()
