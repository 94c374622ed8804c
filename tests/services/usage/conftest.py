from collections.abc import AsyncIterator, Iterator

import pytest

from shared.db import Database
from tests.fixtures.broker import EmbeddedBroker
from tests.fixtures.postgres import PostgresServer, ServiceDatabase
from tests.services.usage.api import Api, serving


@pytest.fixture
def usage_db(pg: PostgresServer) -> ServiceDatabase:
    """A fresh database of the service."""
    return pg.create("usage")


@pytest.fixture
async def worker_db(usage_db: ServiceDatabase) -> AsyncIterator[Database]:
    """As the worker process reaches it."""
    async with Database(usage_db.worker) as database:
        yield database


@pytest.fixture
async def app_db(usage_db: ServiceDatabase) -> AsyncIterator[Database]:
    """As the HTTP process reaches it."""
    async with Database(usage_db.app) as database:
        yield database


@pytest.fixture
async def api(usage_db: ServiceDatabase, worker_db: Database) -> AsyncIterator[Api]:
    async with serving(usage_db, worker_db) as found:
        yield found


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    """Nobody else's records on the service's topics."""
    started = EmbeddedBroker()
    yield started
    started.stop()
