from collections.abc import AsyncIterator

import pytest

from tests.fixtures.postgres import ServiceDatabase
from tests.services.billing.credits.account import Account, opened


@pytest.fixture
async def account(billing_db: ServiceDatabase) -> AsyncIterator[Account]:
    async with opened(billing_db) as found:
        yield found
