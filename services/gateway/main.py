"""The gateway's HTTP process: the only door, accounts and pages."""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator
from uuid import UUID

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from services.gateway.accounts.passwords import Passwords
from services.gateway.accounts.routes import router as me_router
from services.gateway.accounts.service import Accounts
from services.gateway.dependencies import GatewayParts
from services.gateway.door.cors import Cors
from services.gateway.door.door import Door
from services.gateway.entitlements.service import PlanLimits
from services.gateway.events.hub import Hub
from services.gateway.events.routes import router as events_router
from services.gateway.events.usage import UsageWaiter
from services.gateway.identity.forgetting import CHANNEL as PEOPLE
from services.gateway.identity.forgetting import Forgetting
from services.gateway.identity.passes import ISSUER, Passes
from services.gateway.identity.visitors import Visitors
from services.gateway.limits.service import Limits
from services.gateway.members.routes import router as members_router
from services.gateway.members.service import Members
from services.gateway.notifications.mail_routes import router as mail_router
from services.gateway.notifications.refusals import StopLinks
from services.gateway.notifications.routes import router as notifications_router
from services.gateway.pages.file_forms import router as file_forms_router
from services.gateway.pages.files import router as files_router
from services.gateway.pages.forms import router as forms_router
from services.gateway.pages.problems import install as install_problem_pages
from services.gateway.pages.views import router as views_router
from services.gateway.projects.routes import router as projects_router
from services.gateway.projects.service import Projects
from services.gateway.proxy.forward import Deadlines, Forwarder
from services.gateway.proxy.pool import Pool
from services.gateway.proxy.routing import holds_names
from services.gateway.proxy.splice import Splicer
from services.gateway.sessions.routes import router as auth_router
from services.gateway.sessions.service import Sessions
from services.gateway.sessions.tokens import AccessTokens
from services.gateway.settings import Settings
from services.gateway.tenants.routes import one as tenant_router
from services.gateway.tenants.routes import router as tenants_router
from services.gateway.tenants.service import Tenants
from services.gateway.traffic.gate import TrafficGate
from services.gateway.traffic.service import Traffic
from shared.clock import SystemClock
from shared.db import Database
from shared.dead_letters.routes import dead_letter_router
from shared.http import ServiceClient, create_app, serve
from shared.http.cards import CardGuard
from shared.outbox import Stream, Wake
from shared.outbox.routes import outbox_router
from shared.settings import load

ROUTERS = [
    auth_router,
    me_router,
    tenants_router,
    tenant_router,
    members_router,
    projects_router,
    notifications_router,
    mail_router,
    events_router,
    files_router,
    views_router,
    forms_router,
    file_forms_router,
]
STREAMS = [Stream("tenants.v1"), Stream("traffic.v1")]


def derived_key(settings: Settings, purpose: str) -> bytes:
    """A key of its own for each purpose, so that a token for one is worth nothing for another."""
    return hmac.digest(settings.internal_secret.encode(), f"stowage gateway {purpose}".encode(), "sha256")


def stop_links(settings: Settings) -> StopLinks:
    return StopLinks(settings.base_url.rstrip("/"), derived_key(settings, "unsubscribe"))


def build_parts(settings: Settings) -> GatewayParts:
    """Everything, not yet connected."""
    database = Database(settings.database_url, pool_size=settings.database_pool, application_name="gateway")
    clock = SystemClock()
    access = AccessTokens.load(settings.jwt_private_key_file, settings.base_url, clock)
    sessions = Sessions(database, access, clock, key=derived_key(settings, "refresh"))
    secure = settings.base_url.startswith("https://")
    clients = {
        name: ServiceClient(url, settings.internal_secret, issuer=ISSUER, audience=name)
        for name, url in upstreams(settings).items()
    }
    wake, people = Wake(database), Wake(database, PEOPLE)
    limits = PlanLimits(database, clients["billing"], clock, settings.upgrade_url)
    visitors = Visitors(database, access, sessions, clock, secure_cookies=secure)
    hub = Hub(database, UsageWaiter(clients["usage"]), per_user=settings.streams_per_user)

    def changed(user: UUID) -> None:
        visitors.forget_person(user)
        people.set(str(user))  # the other processes, and the streams of all

    return GatewayParts(
        settings=settings,
        database=database,
        clock=clock,
        accounts=Accounts(database, Passwords(), sessions, clock, wake),
        tenants=Tenants(database, limits, clock, wake),
        members=Members(database, limits, clock, wake, changed),
        projects=Projects(database, limits, clock, wake),
        sessions=sessions,
        access=access,
        visitors=visitors,
        limits=Limits(settings),
        traffic=Traffic(database, clock, settings.traffic_seconds),
        hub=hub,
        clients=clients,
        form_key=derived_key(settings, "forms"),
        stop_links=stop_links(settings),
    )


def upstreams(settings: Settings) -> dict[str, str]:
    return {"upload": settings.upload_url, "usage": settings.usage_url, "billing": settings.billing_url}


def create(settings: Settings) -> ASGIApp:
    """The door, with the gateway's own application behind it."""
    parts = build_parts(settings)
    pools = {name: Pool(url) for name, url in upstreams(settings).items()}
    splicer = Splicer()
    app = create_own_app(settings, parts, pools)
    deadlines = Deadlines(settings.answer_seconds, settings.progress_seconds, settings.client_seconds)
    door = Door(
        app,
        forwarders={name: Forwarder(pool, deadlines, splicer) for name, pool in pools.items()},
        visitors=parts.visitors,
        passes=Passes(settings.internal_secret),
        limits=parts.limits,
        traffic=parts.traffic,
        gate=TrafficGate(parts.database, parts.clients["usage"], settings.upgrade_url),
        csrf_key=parts.form_key,
        trust_client_trace=settings.trust_client_trace,
        trusted_proxies=settings.trusted_proxies,
        client_seconds=settings.client_seconds,
    )
    return Cors(door, settings.origins)


def create_own_app(settings: Settings, parts: GatewayParts, pools: dict[str, Pool]) -> FastAPI:
    def forget(user: UUID) -> None:
        parts.visitors.forget_person(user)
        parts.hub.end_streams(user)

    forgetting = Forgetting(settings.database_url, forget)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with parts.database:
            always = (parts.hub.run, parts.traffic.run, forgetting.run)
            running = [asyncio.create_task(run()) for run in always]
            yield
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await parts.traffic.close()
            parts.hub.close()
            parts.accounts.close()
            for pool in pools.values():
                pool.close()
            for client in parts.clients.values():
                await client.close()

    app = create_app(
        settings,
        title="Stowage gateway",
        routers=[
            *ROUTERS,
            outbox_router(parts.database, STREAMS),
            dead_letter_router("gateway", parts.database),
        ],
        lifespan=lifespan,
        checks={"database": parts.database.ping},
        outermost=[Middleware(CardGuard, passing=holds_names, files=True)],
    )
    app.state.parts = parts
    install_problem_pages(app)
    return app


if __name__ == "__main__":
    serve(create, load(Settings))
