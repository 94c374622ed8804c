from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.postgres import PostgresServer, ServiceDatabase
from tests.services.gateway.harness import Gateway, running_gateway


@pytest.fixture
def gateway_db(pg: PostgresServer) -> ServiceDatabase:
    """A fresh database of the service."""
    return pg.create("gateway")


@pytest.fixture
async def gateway(gateway_db: ServiceDatabase, tmp_path: Path) -> AsyncIterator[Gateway]:
    """The door with a stub for every service behind it."""
    async with running_gateway(gateway_db, tmp_path) as running:
        yield running
