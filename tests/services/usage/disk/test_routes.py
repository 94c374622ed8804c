"""From a request over HTTP through the worker's job to the answer."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from pydantic import ValidationError

from services.usage.main import create
from services.usage.settings import Settings
from services.usage.worker import build
from shared.http.server import server_for
from shared.security import Principal, sign
from tests.fixtures.postgres import ServiceDatabase
from tests.services.usage.disk.engines import Engine, labels, own, volume

SECRET = "0123456789abcdef0123456789abcdef"
ADMIN = Principal(kind="user", user_id=uuid4(), is_admin=True)


@dataclass(frozen=True)
class Api:
    url: str
    http: aiohttp.ClientSession

    async def ask(self, method: str, path: str, who: Principal) -> tuple[int, Any]:
        headers = {"stowage-internal": sign(who, secret=SECRET, audience="usage", issuer="gateway")}
        async with self.http.request(method, self.url + path, headers=headers) as response:
            return response.status, await response.json()


def settings_for(database: str, **more: Any) -> Settings:
    return Settings(
        mode="local",
        port=0,
        database_url=database,
        kafka_bootstrap="",
        internal_secret=SECRET,
        upload_url="http://127.0.0.1:1",
        billing_url="http://127.0.0.1:1",
        gateway_url="http://127.0.0.1:1",
        **more,
    )


@pytest.fixture
async def api(usage_db: ServiceDatabase) -> AsyncIterator[Api]:
    settings = settings_for(usage_db.app)
    server = server_for(create(settings), settings)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as http:
        yield Api(f"http://127.0.0.1:{port}", http)
    server.should_exit = True
    await serving


def member(tenant: UUID) -> Principal:
    return Principal(kind="user", user_id=uuid4(), tenant_id=tenant, role="member")


async def work(database: str, engine: Engine, **more: Any) -> None:
    """One turn of the worker's job."""
    with TemporaryDirectory(prefix="stowage-") as folder:
        async with engine.at(Path(folder) / "s") as url, build(settings_for(database, docker_url=url, **more)) as parts:
            [job] = [job for job in parts.jobs if job.name == "disk"]
            await job.run()


async def test_asked_for_measured_and_read(api: Api, usage_db: ServiceDatabase) -> None:
    tenant, project, other = uuid4(), uuid4(), uuid4()
    engine = own(tenant, project, volumes=[10, 20], images=[(120, 100), (130, 100)])
    engine.volumes = [*(engine.volumes or []), volume(5, labels(tenant, other)), volume(1000)]
    status, asked = await api.ask("POST", "/api/admin/usage/disk/collect", ADMIN)
    assert (status, asked["status"], asked["requested_by"]) == (202, "waiting", str(ADMIN.user_id))
    assert (await api.ask("GET", "/api/usage/disk", member(tenant)))[1]["as_of"] is None
    await work(usage_db.worker, engine)

    status, body = await api.ask("GET", "/api/usage/disk", member(tenant))
    assert status == 200
    assert body["total"] == {
        "volumes_bytes": 35,
        "images_bytes": 150,
        "volumes": 3,
        "images": 2,
        "unknown": 0,
        "total_bytes": 185,
    }
    assert [(p["project_id"], p["total_bytes"]) for p in body["projects"]] == [(str(project), 180), (str(other), 5)]

    today = datetime.now(UTC).date()
    status, body = await api.ask("GET", f"/api/usage/disk/history?project_id={project}&from={today}", member(tenant))
    assert (status, body["from"], body["to"], body["project_id"]) == (200, str(today), str(today), str(project))
    assert [(day["day"], day["volumes_bytes"], day["total_bytes"]) for day in body["days"]] == [(str(today), 30, 180)]

    status, body = await api.ask("GET", "/api/admin/usage/disk/runs", ADMIN)
    run = body["items"][-1]
    assert (status, run["id"], run["status"], run["engine"]) == (200, asked["id"], "done", "Docker/27.3.1 (linux)")
    assert (run["unassigned_volumes_bytes"], run["total_bytes"]) == (1000, 1185)


async def test_another_tenant_sees_nothing_of_it(api: Api, usage_db: ServiceDatabase) -> None:
    tenant, project, stranger = uuid4(), uuid4(), member(uuid4())
    await api.ask("POST", "/api/admin/usage/disk/collect", ADMIN)
    await work(usage_db.worker, own(tenant, project, volumes=[10]))
    assert (await api.ask("GET", "/api/usage/disk", stranger))[1]["projects"] == []
    _, body = await api.ask("GET", "/api/usage/disk/history", stranger)
    assert [day["total_bytes"] for day in body["days"]] == [0]
    theirs = await api.ask("GET", f"/api/usage/disk/history?project_id={project}", stranger)
    nobodys = await api.ask("GET", f"/api/usage/disk/history?project_id={uuid4()}", stranger)
    for status, body in (theirs, nobodys):
        assert (status, body["code"], body["detail"]) == (404, "disk_usage_not_found", nobodys[1]["detail"])


async def test_the_labels_are_settings(api: Api, usage_db: ServiceDatabase) -> None:
    tenant, project = uuid4(), uuid4()
    engine = Engine(volumes=[volume(8, {"org.acme.team": str(tenant), "org.acme.app": str(project)})])
    await api.ask("POST", "/api/admin/usage/disk/collect", ADMIN)
    await work(usage_db.worker, engine, docker_tenant_label="org.acme.team", docker_project_label="org.acme.app")
    assert (await api.ask("GET", "/api/usage/disk", member(tenant)))[1]["total"]["volumes_bytes"] == 8


async def test_who_may_not(api: Api) -> None:
    person = member(uuid4())
    for method, path in (("POST", "collect"), ("GET", "runs")):
        status, body = await api.ask(method, f"/api/admin/usage/disk/{path}", person)
        assert (status, body["code"]) == (403, "admin_required")
        assert (await api.ask(method, f"/api/admin/usage/disk/{path}", Principal()))[0] == 401
    for path in ("/api/usage/disk", "/api/usage/disk/history"):
        assert (await api.ask("GET", path, Principal()))[0] == 401
        assert (await api.ask("GET", path, ADMIN))[1]["code"] == "tenant_required"


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-03-02&to=2026-03-01",
        "from=2024-03-01&to=2026-03-01",
        "from=0001-01-01",
        "to=0000-01-01",
        "from=yesterday",
        "project_id=x",
    ],
)
async def test_ranges_that_are_none(api: Api, query: str) -> None:
    assert (await api.ask("GET", f"/api/usage/disk/history?{query}", member(uuid4())))[0] == 422


async def test_ranges_at_the_ends_of_the_calendar(api: Api) -> None:
    for query, first in (("to=0001-01-05", "0001-01-01"), ("from=9999-01-01&to=9999-12-31", "9999-01-01")):
        status, body = await api.ask("GET", f"/api/usage/disk/history?{query}", member(uuid4()))
        assert (status, body["from"], body["days"]) == (200, first, [])


async def test_runs_in_pages(api: Api, usage_db: ServiceDatabase) -> None:
    for _ in range(3):
        await api.ask("POST", "/api/admin/usage/disk/collect", ADMIN)
        await work(usage_db.worker, Engine(trouble="500"))
    seen, cursor = [], ""
    while True:
        _, body = await api.ask("GET", f"/api/admin/usage/disk/runs?limit=1{cursor}", ADMIN)
        seen += [(item["id"], item["requested_at"]) for item in body["items"]]
        if body["next_cursor"] is None:
            break
        cursor = f"&cursor={body['next_cursor']}"
    assert len(set(seen)) == len(seen) >= 3
    assert [at for _, at in seen] == sorted((at for _, at in seen), reverse=True)
    assert (await api.ask("GET", "/api/admin/usage/disk/runs?cursor=W10", ADMIN))[1]["code"] == "invalid_cursor"


@pytest.mark.parametrize("url", ["/var/run/docker.sock", "unix://", "unix://relative", "ssh://host", "tcp://host"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ValidationError, match="wanted: unix:///path"):
        settings_for("", docker_url=url)


@pytest.mark.parametrize("url", ["", "unix:///var/run/docker.sock", "tcp://10.0.0.1:2375", "http://[::1]:2375/"])
def test_addresses(url: str) -> None:
    assert settings_for("", docker_url=url).docker_url == url
    with pytest.raises(ValidationError, match="at least 1"):
        settings_for("", docker_project_label="")
