"""All ways in and out at once, one tenant, two processes and the worker's jobs: not a byte over, none refused in vain,
and the sums agree after it.

`make test` stores about 10,000 files on the local disk and an eighth of that in an S3 server, `make faults` ten times
that.
"""

import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.postgres import PostgresServer
from tests.services.upload.conftest import Billing
from tests.services.upload.race import SWEEPS, Race, fits, orders, racing
from tests.services.upload.ways import (
    AT_STORE,
    AWAY,
    FREED,
    GIVEN_UP,
    GIVEN_UP_AT_STORE,
    NO_IMAGE_LEFT,
    REFUSED,
    STORED,
    Client,
    Order,
)

UPLOADS = int(os.environ.get("UPLOADS", "10000"))
# Orders of each of the large races, by the store; a quarter as many files are stored before it.
RACE = {"local": UPLOADS * 9 // 20, "s3": UPLOADS // 16}
IMAGES = 500
LEAVING = {*AWAY, Client.empty, Client.restore, *GIVEN_UP, *GIVEN_UP_AT_STORE}  # ways after which nothing may be left

pytestmark = [pytest.mark.alone, pytest.mark.faults, pytest.mark.timeout(180 + UPLOADS // 20)]
on_both = pytest.mark.parametrize("kind", ["local", pytest.param("s3", marks=pytest.mark.parts("s3_program"))])


@pytest.fixture
async def race(
    request: pytest.FixtureRequest, kind: str, pg: PostgresServer, billing: Billing, tmp_path: Path
) -> AsyncIterator[Race]:
    server = request.getfixturevalue("s3_server") if kind == "s3" else None
    async with racing(pg.create("upload"), tmp_path / "store", billing, server) as found:
        yield found


@on_both
async def test_what_fits_to_the_byte_passes_and_nothing_more(race: Race, kind: str) -> None:
    """Exactly as much as the plan holds: none may be refused. What was deleted, given up and left behind is free again
    to the byte, and then not a byte more comes in. The store is left clean without being swept.
    """
    race.jobs = [job for job in race.jobs if job not in SWEEPS]  # nobody dies: there is nothing for them
    wanted = orders(RACE[kind], 1, at_store=kind == "s3", grow=True)
    limit = fits(wanted)
    tenant = await race.tenant(limit)
    await race.prepare(tenant, wanted)
    begun = time.monotonic()
    done = await race.run(tenant, wanted)
    print(f"\n{len(wanted) / (time.monotonic() - begun):.0f} orders/s, {race.looks} looks")  # noqa: T201 - what was measured
    assert set(done.values()) == {STORED, FREED}, (Counter(done.values()), race.codes)
    assert {order.way for order, status in done.items() if status == FREED} <= LEAVING
    assert race.highest <= limit
    await race.bury(tenant)
    freed = sum(order.size for order, status in done.items() if status == FREED)
    assert await race.agree(tenant, done) == limit - freed
    client = race.client(tenant, 0)
    fill = Order(len(wanted), Client.raw, freed)
    done[fill] = await Client.raw(client, fill)
    assert done[fill] == STORED
    ways = (Client.form, Client.raw, Client.tus_joined, Client.direct, *(AT_STORE if kind == "s3" else ()))
    for number, way in enumerate(ways, len(wanted) + 1):
        assert await way(client, Order(number, way, 1)) == REFUSED
    assert await race.agree(tenant, done) == limit


@on_both
async def test_what_does_not_fit_stays_out_though_processes_die(race: Race, kind: str) -> None:
    """Twice what the plan holds. Who gets no answer asks again; what the dead have left is gone a day later, and then
    nothing that was refused would fit.
    """
    wanted = orders(RACE[kind], 2, at_store=kind == "s3", grow=False)
    limit = fits(wanted) // 2
    tenant = await race.tenant(limit)
    await race.prepare(tenant, wanted)
    begun = time.monotonic()
    done = await race.run(tenant, wanted, kills=True)
    seconds = time.monotonic() - begun
    assert set(done.values()) == {STORED, REFUSED, FREED}, (Counter(done.values()), race.codes)
    assert race.deaths["anywhere"] > 0
    # What was refused did not fit at that moment.
    told = [refusal["quota_info"] for refusal in race.refusals]
    assert told
    assert [quota for quota in told if quota["requested"] <= quota["available"]] == []
    await race.bury(tenant)
    refused = [order for order, status in done.items() if status == REFUSED and order.way not in LEAVING]
    done |= await race.again(tenant, refused)
    used = await race.agree(tenant, done)
    assert race.highest <= limit
    left = limit - used
    assert min(order.need for order in refused if done[order] == REFUSED) > left
    # Of what a race leaves the last byte can be used.
    client = race.client(tenant, 0)
    assert await Client.raw(client, Order(len(wanted), Client.raw, left)) == STORED
    assert await Client.form(client, Order(len(wanted) + 1, Client.form, 1)) == REFUSED
    print(f"\n{len(wanted) / seconds:.0f} orders/s, {dict(race.deaths)} deaths, {race.repeats} repeated requests")  # noqa: T201


@pytest.mark.parametrize("kind", ["local"])
async def test_of_the_months_images_the_last_one_passes_and_no_more(race: Race) -> None:
    wanted = [Order(number, Client.image, 900 + number) for number in range(IMAGES * 6 // 5)]
    tenant = await race.tenant(fits(wanted), images=IMAGES)
    done = await race.run(tenant, wanted)
    assert Counter(done.values()) == {STORED: IMAGES, NO_IMAGE_LEFT: len(wanted) - IMAGES}
    await race.agree(tenant, done)
