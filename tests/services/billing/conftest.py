from collections.abc import AsyncIterator

import pytest

from tests.fixtures.postgres import PostgresServer, ServiceDatabase
from tests.services.billing.world import World, running


@pytest.fixture
def billing_db(pg: PostgresServer) -> ServiceDatabase:
    """A fresh database of the service."""
    return pg.create("billing")


@pytest.fixture
async def world(billing_db: ServiceDatabase) -> AsyncIterator[World]:
    async with running(billing_db) as started:
        yield started
