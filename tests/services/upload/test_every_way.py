"""All ways in at once, one tenant, two processes: not a byte over, none refused in vain, and the sums agree after it.

`make test` stores about 10,000 files, `make faults` 100,000.
"""

import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.postgres import PostgresServer
from tests.services.upload.conftest import Billing
from tests.services.upload.race import Race, fits, orders, racing
from tests.services.upload.ways import NO_IMAGE_LEFT, REFUSED, STORED, Client, Order

UPLOADS = int(os.environ.get("UPLOADS", "10000"))
RACE = UPLOADS * 2 // 5  # orders of each of the large races; a quarter as many files are stored before it
IMAGES = 500

pytestmark = [pytest.mark.alone, pytest.mark.faults, pytest.mark.timeout(180 + UPLOADS // 20)]


@pytest.fixture
async def race(pg: PostgresServer, billing: Billing, tmp_path: Path) -> AsyncIterator[Race]:
    async with racing(pg.create("upload"), tmp_path / "store", billing) as found:
        yield found


async def test_what_fits_to_the_byte_passes_and_nothing_more(race: Race) -> None:
    """Exactly as much as the plan holds: none may be refused, and then not a byte more comes in."""
    wanted = orders(RACE, 1, grow=True)
    limit = fits(wanted)
    tenant = await race.tenant(limit)
    await race.prepare(tenant, wanted)
    begun = time.monotonic()
    done = await race.run(tenant, wanted)
    print(f"\n{RACE / (time.monotonic() - begun):.0f} uploads/s")  # noqa: T201 - what was measured
    assert Counter(done.values()) == {STORED: len(wanted)}
    assert await race.agree(tenant, done) == limit == race.highest
    for number, way in enumerate((Client.form, Client.raw, Client.tus_joined, Client.direct)):
        assert await way(race.client(tenant, 0), Order(RACE + number, way, 1)) == REFUSED


async def test_what_does_not_fit_stays_out_though_processes_die(race: Race) -> None:
    """Twice what the plan holds. Who gets no answer asks again; what the dead have left is gone a day later, and then
    nothing that was refused would fit.
    """
    wanted = orders(RACE, 2, grow=False)
    limit = fits(wanted) * 3 // 5
    tenant = await race.tenant(limit)
    await race.prepare(tenant, wanted)
    begun = time.monotonic()
    done = await race.run(tenant, wanted, kills=True)
    seconds = time.monotonic() - begun
    assert set(done.values()) == {STORED, REFUSED}
    assert race.deaths["anywhere"] > 0
    await race.bury(tenant)
    refused = [order for order, status in done.items() if status == REFUSED]
    done |= await race.again(tenant, refused)
    used = await race.agree(tenant, done)
    assert race.highest <= limit
    left = limit - used
    assert min(order.need for order, status in done.items() if status == REFUSED) > left
    # Of what a race leaves the last byte can be used.
    assert await Client.raw(race.client(tenant, 0), Order(RACE, Client.raw, left)) == STORED
    assert await Client.form(race.client(tenant, 0), Order(RACE + 1, Client.form, 1)) == REFUSED
    print(f"\n{RACE / seconds:.0f} uploads/s, {dict(race.deaths)} deaths, {race.repeats} repeated requests")  # noqa: T201


async def test_of_the_months_images_the_last_one_passes_and_no_more(race: Race) -> None:
    wanted = [Order(number, Client.image, 900 + number) for number in range(IMAGES * 6 // 5)]
    tenant = await race.tenant(fits(wanted), images=IMAGES)
    done = await race.run(tenant, wanted)
    assert Counter(done.values()) == {STORED: IMAGES, NO_IMAGE_LEFT: len(wanted) - IMAGES}
    await race.agree(tenant, done)
