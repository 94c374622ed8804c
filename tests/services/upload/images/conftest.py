"""The service with a clock of the test's own, pictures, and people who have an address."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import numpy as np
import pytest
from PIL import Image

from services.upload.images.analysis.embedder import DefaultEmbedder
from services.upload.images.analysis.service import ImageAnalysis
from services.upload.main import create
from shared.clock import FixedClock
from shared.db import Database
from shared.security import Principal, sign
from shared.security.principal import Role
from tests.fixtures.postgres import PostgresServer, query
from tests.services.upload.conftest import Billing, Customer, Upload, serving, settings_for

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def picture(seed: int = 1, size: tuple[int, int] = (64, 48), kind: str = "PNG", **options: Any) -> bytes:
    """Smooth random colours, as photos have them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    made = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(made, kind, **options)
    return made.getvalue()


@dataclass
class Photographer(Customer):
    email: str = field(default_factory=lambda: f"{uuid4().hex[:8]}@example.com")
    role: Role = "owner"
    is_admin: bool = False

    @property
    def token(self) -> str:
        who = Principal(
            kind="user",
            user_id=self.user,
            tenant_id=self.tenant,
            tenant_slug="t",
            role=self.role,
            email=self.email,
            is_admin=self.is_admin,
        )
        return sign(who, secret=self.service.settings.internal_secret, audience="upload", issuer="gateway")

    async def send(
        self,
        content: bytes,
        fields: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        path: str = "/api/images/upload",
    ) -> tuple[int, Any]:
        status, answer, _ = await self.call("POST", path, data=form(content, fields or {}), headers=headers or {})
        return status, answer

    async def image_quota(self) -> dict[str, Any]:
        status, answer, _ = await self.call("GET", "/api/images/quota")
        assert status == 200
        return answer  # type: ignore[no-any-return]

    async def get(self, path: str, **options: Any) -> Any:
        status, answer, _ = await self.call("GET", path, **options)
        assert status == 200, answer
        return answer


def form(content: bytes, fields: dict[str, str], name: str = "picture.png") -> aiohttp.FormData:
    body = aiohttp.FormData(default_to_multipart=True)
    for key, value in fields.items():
        body.add_field(key, value)
    body.add_field("file", content, filename=name, content_type="image/png")
    return body


@dataclass
class Studio:
    """Two processes on one database and one store."""

    apps: list[Upload]
    clock: FixedClock
    billing: Billing
    analysis: ImageAnalysis

    def photographer(self, app: int = 0, tenant: UUID | None = None) -> Photographer:
        return Photographer(self.apps[app], tenant or uuid4(), uuid4())

    async def query(self, sql: str, *values: object) -> list[Any]:
        return await query(self.apps[0].dsn.superuser, sql, *values)

    async def look_at_all(self) -> None:
        """What the worker does with the tasks that are due."""
        for task in await self.query("DELETE FROM file_task WHERE kind = 'image' RETURNING tenant_id, file_id"):
            await self.analysis.analyse(task["tenant_id"], task["file_id"])

    def derived(self) -> list[Path]:
        return [path for path in self.apps[0].blobs() if "derived" in path.parts]


@pytest.fixture
async def studio(pg: PostgresServer, tmp_path: Path, billing: Billing) -> AsyncIterator[Studio]:
    dsn, root, clock = pg.create("upload"), tmp_path / "store", FixedClock(NOW)
    billing.limit = None
    async with aiohttp.ClientSession() as http, Database(dsn.worker, pool_size=4) as worker:
        told = {"gateway_url": billing.url, "idle_seconds": 30.0}
        all_settings = [settings_for(dsn.app, root, billing.url, **told) for _ in range(2)]
        first, second = (create(settings, clock) for settings in all_settings)
        async for _ in serving(first, all_settings[0]):
            async for _ in serving(second, all_settings[1]):
                apps = [
                    Upload(settings.base_url, app, dsn, root, settings, http)
                    for settings, app in zip(all_settings, (first, second), strict=True)
                ]
                locations = first.state.services.thumbnails._locations
                analysis = ImageAnalysis(worker, locations, DefaultEmbedder(), 50_000_000)
                yield Studio(apps, clock, billing, analysis)
