"""The real service on each kind of store, and its worker's part in direct uploads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from services.upload.blobs.locations import DEFAULT
from services.upload.direct import open as opening
from services.upload.direct.cleanup import DirectCleanup
from services.upload.direct.gcs import GcsOffers
from services.upload.direct.offers import Offers
from services.upload.direct.open import direct_cleanup
from services.upload.entitlements.service import EntitlementService
from services.upload.main import create
from services.upload.quota.service import AccountService
from services.upload.quota.writer import AccountWriter
from services.upload.settings import Settings
from shared.db import Database
from shared.http import ServiceClient
from shared.outbox import Wake
from tests.fixtures.postgres import PostgresServer, ServiceDatabase
from tests.fixtures.stores import ObjectServer
from tests.services.upload.conftest import Billing, Upload, serving, settings_for


@pytest.fixture(scope="session")
def google_key() -> dict[str, Any]:
    """A service account as Google gives them, of nobody."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    uri = "http://127.0.0.1:1/token"
    return {"type": "service_account", "client_email": "a@b.test", "private_key": pem, "token_uri": uri}


def told_of(kind: str, server: ObjectServer) -> dict[str, Any]:
    """Settings for a bucket of one's own."""
    bucket = f"test-{uuid4().hex[:12]}"
    if kind == "s3":
        told = {"endpoint": server.url, "bucket": bucket, "access_key": server.key, "secret_key": server.secret}
    elif kind == "azure":
        url = f"{server.url}/{server.key}"
        told = {"endpoint": url, "container": bucket, "account": server.key, "key": server.secret}
    else:
        told = {"endpoint": server.url, "bucket": bucket, "project": "tests"}
    return {"storage_backend": kind, "store_seconds": 20, **{f"{kind}_{name}": value for name, value in told.items()}}


def give_key(offers: dict[str, Offers], key: dict[str, Any]) -> dict[str, Offers]:
    """Google's emulator lets everybody in, but a signature needs a key all the same."""
    for one in offers.values():
        if isinstance(one, GcsOffers):
            one._key = key
    return offers


@asynccontextmanager
async def running(settings: Settings, dsn: ServiceDatabase, root: Path) -> AsyncIterator[Upload]:
    app = create(settings)
    async with aiohttp.ClientSession() as http:
        async for _ in serving(app, settings):
            yield Upload(settings.base_url, app, dsn, root, settings, http)


@pytest.fixture
async def remote(
    request: pytest.FixtureRequest,
    pg: PostgresServer,
    tmp_path: Path,
    billing: Billing,
    google_key: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Upload]:
    """On the store whose kind is the parameter."""
    kind = request.param
    told = told_of(kind, request.getfixturevalue(f"{kind}_server"))
    open_offers = opening.open_offers
    monkeypatch.setattr(opening, "open_offers", lambda *told: give_key(dict(open_offers(*told)), google_key))
    dsn = pg.create("upload")
    async with running(settings_for(dsn.app, tmp_path / "unused", billing.url, **told), dsn, tmp_path) as found:
        yield found


@asynccontextmanager
async def cleanup_of(service: Upload) -> AsyncIterator[DirectCleanup]:
    """What the worker does, with the worker's role, on the service's own store."""
    locations = service.app.state.services.direct.receiver._locations
    settings = service.settings
    billing = ServiceClient(settings.billing_url, settings.internal_secret, issuer="upload", audience="billing")
    async with Database(service.dsn.worker) as database, billing:
        entitlements = EntitlementService(database, billing)
        accounts = AccountService(database, AccountWriter(database, on_commit=Wake(database).set), entitlements)
        async with direct_cleanup(settings, database, accounts, entitlements, locations) as cleanup:
            yield cleanup


async def objects(service: Upload) -> dict[str, int]:
    """Everything in the store, with its size."""
    store = service.app.state.services.direct.receiver._locations[DEFAULT]
    return {found.path: found.size async for found in store.walk("")}
