"""A Docker Engine's API over a real socket, as far as disk usage needs it; a stand-in, with trouble on demand."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from aiohttp import web

TENANT_LABEL, PROJECT_LABEL = "stowage.tenant", "stowage.project"


def labels(tenant: UUID | str, project: UUID | str) -> dict[str, str]:
    return {TENANT_LABEL: str(tenant), PROJECT_LABEL: str(project)}


def volume(size: int | None, carried: dict[str, str] | None = None, name: str = "data") -> dict[str, Any]:
    """As the engine lists it; None leaves the usage out, -1 is what the engine itself says of a driver not its own."""
    listed = {
        "Name": name,
        "Driver": "local",
        "Mountpoint": f"/var/lib/docker/volumes/{name}/_data",
        "CreatedAt": "2026-03-01T00:00:00Z",
        "Labels": carried,
        "Scope": "local",
        "Options": None,
    }
    return listed if size is None else {**listed, "UsageData": {"Size": size, "RefCount": 1}}


def image(size: int, shared: int | None = 0, carried: dict[str, str] | None = None) -> dict[str, Any]:
    listed = {
        "Id": "sha256:" + "ab" * 32,
        "ParentId": "",
        "RepoTags": ["app:latest"],
        "RepoDigests": [],
        "Created": 1_772_323_200,
        "Size": size,
        "Labels": carried,
        "Containers": 1,
    }
    return listed if shared is None else {**listed, "SharedSize": shared}


@dataclass
class Engine:
    """`version`: the newest API it speaks, None names none. `trouble`, of `/system/df`:

    `hang`: it never answers · `cut`: half of it comes · `garbage`: no JSON · `huge`: it does not end · `other`: JSON of
    something else · `moved`: it is elsewhere · a number: it is refused so.
    """

    version: str | None = "1.45"
    oldest: str = "1.24"
    volumes: list[dict[str, Any]] | None = field(default_factory=list)
    images: list[dict[str, Any]] | None = field(default_factory=list)
    trouble: str | None = None
    asked: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    going_on: asyncio.Event = field(default_factory=asyncio.Event)  # what `hang` waits for

    async def ping(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        told = {"Server": "Docker/27.3.1 (linux)", "Docker-Experimental": "false", "Ostype": "linux"}
        return web.Response(text="OK", headers=told if self.version is None else told | {"Api-Version": self.version})

    async def df(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        self.arrived.set()
        wanted = tuple(map(int, request.match_info["version"].split(".")))
        assert self.version is not None
        if wanted > tuple(map(int, self.version.split("."))):
            return _refused(400, f"client version {wanted} is too new. Maximum supported API version is {self.version}")
        if wanted < tuple(map(int, self.oldest.split("."))):
            return _refused(400, f"client version {wanted} is too old. Minimum supported API version is {self.oldest}")
        return await self._trouble(request) or web.json_response(self._answer(wanted, request))

    async def _trouble(self, request: web.Request) -> web.StreamResponse | None:
        match self.trouble:
            case "hang":
                await self.going_on.wait()
            case "garbage":
                return web.Response(text="<html>no engine</html>")
            case "other":
                return web.json_response({"message": "page not found"})
            case "moved":
                return web.Response(status=307, headers={"Location": "/v1.25/system/df"})
            case "cut" | "huge":
                return await _unending(request, cut=self.trouble == "cut")
            case str(status):
                return _refused(int(status), "a disk usage operation is already running\0")
        return None

    def _answer(self, version: tuple[int, ...], request: web.Request) -> dict[str, Any]:
        kinds = request.query.getall("type", []) if version >= (1, 42) else []
        everything = not kinds
        answer: dict[str, Any] = {}
        if version >= (1, 52):
            verbose = request.query.get("verbose") == "1"
            for kind, name, things in (("image", "ImageUsage", self.images), ("volume", "VolumeUsage", self.volumes)):
                if everything or kind in kinds:
                    answer[name] = {"TotalCount": len(things), "TotalSize": 1} if things else {}
                    if things and verbose:
                        answer[name]["Items"] = things
            return answer
        if everything or "image" in kinds:
            old = version < (1, 44)
            answer["LayersSize"] = 1
            answer["Images"] = [i | {"VirtualSize": i["Size"]} if old else i for i in self.images or []] or self.images
        if everything or "volume" in kinds:
            answer["Volumes"] = self.volumes
        return answer | ({"Containers": [], "BuildCache": [], "BuilderSize": 0} if everything else {})

    @asynccontextmanager
    async def at(self, path: Path) -> AsyncIterator[str]:
        """Yields its address on a unix socket."""
        async with self._running() as runner:
            await web.UnixSite(runner, str(path)).start()
            yield f"unix://{path}"

    @asynccontextmanager
    async def on_tcp(self) -> AsyncIterator[str]:
        async with self._running() as runner:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"tcp://127.0.0.1:{runner.addresses[0][1]}"

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[web.AppRunner]:
        app = web.Application()
        app.router.add_get("/_ping", self.ping)
        app.router.add_get("/v{version}/system/df", self.df)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            yield runner
        finally:
            self.going_on.set()
            await runner.cleanup()


def own(tenant: UUID, project: UUID, volumes: Sequence[int] = (), images: Sequence[tuple[int, int]] = ()) -> Engine:
    """One that has things of one project only."""
    carried = labels(tenant, project)
    return Engine(
        volumes=[volume(size, carried) for size in volumes], images=[image(*sizes, carried) for sizes in images]
    )


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)


async def _unending(request: web.Request, *, cut: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"Images": [')
    if cut:
        assert request.transport is not None
        request.transport.abort()
        return response
    while True:
        await response.write(b" " * 65536)
