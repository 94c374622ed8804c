"""S3.4 against a real database, by a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from services.billing.ads.service import AdService
from services.billing.ads.verification import Verifier, custom_data
from services.billing.credits.catalogue import load_credits
from services.billing.credits.errors import (
    AdLimitReached,
    AdViewNotFound,
    AdViewOpen,
    AdViewOver,
    VerificationRefused,
)
from services.billing.credits.repository import set_timezone
from tests.fixtures.postgres import ServiceDatabase
from tests.services.billing.ads.network import Network
from tests.services.billing.credits.account import Account, opened


@dataclass
class Viewer:
    """`network`: rewards wait for its word."""

    account: Account
    ads: AdService
    network: Network
    user: UUID = field(default_factory=uuid4)

    async def start(self, *, user: UUID | None = None) -> UUID:
        view, _ = await self.ads.start(self.account.tenant, user or self.user)
        return view.id

    async def complete(self, view: UUID) -> tuple[int | None, str | None]:
        done, _ = await self.ads.complete(self.account.tenant, self.user, view)
        return done.credits, done.reason

    async def watch(self, seconds: float) -> tuple[int | None, str | None]:
        view = await self.start()
        self.account.clock.advance(timedelta(seconds=seconds))
        return await self.complete(view)

    async def told(self, view: UUID, **changes: str) -> str:
        said = {"custom_data": custom_data(self.account.tenant, view), **changes}
        return await self.ads.verify(self.network.query(self.account.clock.now(), **said))


@pytest.fixture
async def viewer(billing_db: ServiceDatabase, tmp_path: Path) -> AsyncIterator[Viewer]:
    async with opened(billing_db) as account:
        ads = AdService(account.database, load_credits().ads, None, account.clock, lambda: None)
        yield Viewer(account, ads, Network(tmp_path / "keys.json"))


@pytest.fixture
def verified(viewer: Viewer) -> Viewer:
    account, network = viewer.account, viewer.network
    verifier = Verifier(network.path)
    viewer.ads = AdService(account.database, load_credits().ads, verifier, account.clock, lambda: None)
    return viewer


async def test_by_the_server_s_clock(viewer: Viewer) -> None:
    assert await viewer.watch(30) == (2, None)
    assert await viewer.watch(29.9) == (1, None)
    assert await viewer.watch(14.9) == (0, "too_short")
    assert await viewer.account.amount() == 3
    view = await viewer.start()
    viewer.account.clock.advance(timedelta(seconds=-60))  # a clock that is put back earns nothing
    assert await viewer.complete(view) == (0, "too_short")


async def test_completed_once_however_often_and_at_once(viewer: Viewer) -> None:
    view = await viewer.start()
    viewer.account.clock.advance(timedelta(seconds=30))
    assert await asyncio.gather(*(viewer.complete(view) for _ in range(64))) == [(2, None)] * 64
    viewer.account.clock.advance(timedelta(hours=1))
    assert await viewer.complete(view) == (2, None)
    assert await viewer.account.amount() == 2
    rows = await viewer.account.rows("SELECT FROM credit_transaction")
    assert len(rows) == 1


async def test_too_late(viewer: Viewer) -> None:
    view = await viewer.start()
    viewer.account.clock.advance(timedelta(minutes=10, seconds=1))
    for _ in range(2):
        with pytest.raises(AdViewOver) as refused:
            await viewer.complete(view)
        assert refused.value.code == "ad_view_expired"
    assert await viewer.account.amount() == 0


async def test_two_tabs_earn_what_one_does(viewer: Viewer) -> None:
    first = await viewer.start()
    viewer.account.clock.advance(timedelta(seconds=29))
    second = await viewer.start()
    viewer.account.clock.advance(timedelta(seconds=15))
    with pytest.raises(AdViewOver) as refused:
        await viewer.complete(first)
    assert refused.value.code == "ad_view_ended"
    assert await viewer.complete(second) == (1, None)
    started = await asyncio.gather(*(viewer.start() for _ in range(16)))
    viewer.account.clock.advance(timedelta(seconds=30))
    results = await asyncio.gather(*(viewer.complete(view) for view in started), return_exceptions=True)
    assert sum(result == (2, None) for result in results) == 1
    assert await viewer.account.amount() == 3


async def test_one_open_view_in_a_team(viewer: Viewer) -> None:
    view = await viewer.start()
    with pytest.raises(AdViewOpen):
        await viewer.start(user=uuid4())
    viewer.account.clock.advance(timedelta(minutes=10, seconds=1))
    await viewer.start(user=uuid4())  # what was left behind keeps nobody out
    with pytest.raises(AdViewOver):
        await viewer.complete(view)


async def test_a_strangers_view_does_not_exist(viewer: Viewer) -> None:
    view = await viewer.start()
    with pytest.raises(AdViewNotFound):
        await viewer.complete(uuid4())
    mine, viewer.user = viewer.user, uuid4()
    with pytest.raises(AdViewNotFound):
        await viewer.complete(view)
    viewer.user, viewer.account.tenant = mine, uuid4()
    with pytest.raises(AdViewNotFound):
        await viewer.complete(view)


async def test_ten_a_day_and_none_more_at_once(viewer: Viewer) -> None:
    for _ in range(3):
        assert await viewer.watch(5) == (0, "too_short")  # these do not count
    for _ in range(9):
        assert await viewer.watch(30) == (2, None)
    view = await viewer.start()
    viewer.account.clock.advance(timedelta(seconds=30))
    done = await asyncio.gather(*(viewer.complete(view) for _ in range(20)))
    assert set(done) == {(2, None)}
    with pytest.raises(AdLimitReached) as refused:
        await viewer.start()
    assert refused.value.extras["resets_at"] == "2026-03-02T00:00:00+00:00"
    assert await viewer.account.amount() == 20
    viewer.account.clock.advance(datetime(2026, 3, 2, tzinfo=UTC) - viewer.account.clock.now())
    assert await viewer.watch(30) == (2, None)


async def test_a_view_begun_before_midnight_counts_for_the_day_it_ends_in(viewer: Viewer) -> None:
    viewer.account.clock.advance(datetime(2026, 3, 1, 23, 30, tzinfo=UTC) - viewer.account.clock.now())
    for _ in range(9):
        await viewer.watch(30)
    viewer.account.clock.advance(datetime(2026, 3, 1, 23, 59, 50, tzinfo=UTC) - viewer.account.clock.now())
    assert await viewer.watch(30) == (2, None)
    for _ in range(9):
        assert await viewer.watch(30) == (2, None)
    with pytest.raises(AdLimitReached):
        await viewer.start()


@pytest.mark.parametrize(
    ("zone", "midnights"),
    [
        ("Europe/Berlin", ["2026-03-28T23:00Z", "2026-03-29T22:00Z", "2026-03-30T22:00Z"]),
        ("America/New_York", ["2026-11-01T04:00Z", "2026-11-02T05:00Z", "2026-11-03T05:00Z"]),
    ],
)
async def test_days_are_the_teams_also_when_clocks_change(viewer: Viewer, zone: str, midnights: list[str]) -> None:
    await viewer.account.open(zone)
    clock = viewer.account.clock
    for text in midnights:
        midnight = datetime.fromisoformat(text)
        clock.advance(midnight - timedelta(minutes=30) - clock.now())
        for _ in range(10):
            try:
                await viewer.watch(30)
            except AdLimitReached:
                break
        with pytest.raises(AdLimitReached) as refused:
            await viewer.start()
        assert datetime.fromisoformat(refused.value.extras["resets_at"]) == midnight
        clock.advance(midnight - clock.now())
        assert await viewer.watch(30) == (2, None)


async def test_moving_to_another_zone_gives_no_second_day(viewer: Viewer) -> None:
    """Ten for a date, whichever way the team moves: a date that was begun early is used up, and none comes back."""
    account = viewer.account
    for zone, rewarded in [
        ("Pacific/Kiritimati", 10),  # 2 March already
        ("Pacific/Pago_Pago", 0),  # 1 March
        ("UTC", 0),
        ("Pacific/Kiritimati", 0),
    ]:
        async with account.database.transaction(account.tenant) as connection:
            await set_timezone(connection, account.tenant, zone)
        for _ in range(rewarded):
            assert await viewer.watch(30) == (2, None)
        with pytest.raises(AdLimitReached):
            await viewer.start()


async def test_words_that_come_late_reward_no_more_than_ten(verified: Viewer) -> None:
    views = []
    for _ in range(12):
        views.append(await verified.start())
        verified.account.clock.advance(timedelta(seconds=30))
        await verified.complete(views[-1])
    await asyncio.gather(*(verified.told(view) for view in views))
    done = [await verified.complete(view) for view in views]
    assert sorted(done, key=str) == [(0, "daily_limit")] * 2 + [(2, None)] * 10
    assert await verified.account.amount() == 20


async def test_the_reward_waits_for_the_network(verified: Viewer) -> None:
    view = await verified.start()
    verified.account.clock.advance(timedelta(seconds=30))
    assert await verified.complete(view) == (None, None)
    assert await verified.account.amount() == 0
    told = await asyncio.gather(*(verified.told(view, transaction_id="t1") for _ in range(8)))
    assert sorted(told) == ["known"] * 7 + ["verified"]
    assert await verified.complete(view) == (2, None)
    assert await verified.account.amount() == 2


async def test_the_network_may_be_first(verified: Viewer) -> None:
    view = await verified.start()
    verified.account.clock.advance(timedelta(seconds=30))
    await verified.told(view)
    assert await verified.account.amount() == 0
    assert await verified.complete(view) == (2, None)


async def test_what_is_forged_replayed_or_old_is_refused(verified: Viewer) -> None:
    network, clock = verified.network, verified.account.clock
    view = await verified.start()
    clock.advance(timedelta(seconds=30))
    await verified.complete(view)
    said = {"custom_data": custom_data(verified.account.tenant, view)}
    good = network.query(clock.now(), **said, transaction_id="t1")
    forged = [
        good.replace(b"reward_amount=1", b"reward_amount=9"),
        good.replace(b"&signature=", b"&x=1&signature="),
        good.partition(b"&signature=")[0],
        good.replace(b"&key_id=1", b"&key_id=2"),
        good.replace(b"&key_id=1", b"&key_id=1&transaction_id=t9"),
        Network(network.path.with_name("other.json")).query(clock.now(), **said),
        network.query(clock.now(), **said) + b"x" * 5000,
        b"",
    ]
    for query in forged:
        with pytest.raises(VerificationRefused) as refused:
            await verified.ads.verify(query)
        assert refused.value.status == 401, query
    for changes, status in (
        ({"custom_data": "nonsense"}, 422),
        ({"custom_data": f"{verified.account.tenant}.{uuid4()}"}, 404),
        ({"custom_data": f"{uuid4()}.{view}"}, 404),
        ({"timestamp": "1"}, 422),
        ({"timestamp": "9" * 30}, 422),
        ({"transaction_id": "x" * 201}, 422),
    ):
        with pytest.raises(VerificationRefused) as refused:
            await verified.told(view, **changes)
        assert refused.value.status == status, changes
    assert await verified.account.amount() == 0
    assert await verified.ads.verify(good) == "verified"
    assert await verified.ads.verify(good) == "known"
    other = await verified.start()
    with pytest.raises(VerificationRefused) as refused:
        await verified.told(other, transaction_id="t1")
    assert refused.value.status == 409
    clock.advance(timedelta(hours=1, seconds=1))
    with pytest.raises(VerificationRefused):
        await verified.told(other, transaction_id="t2")
    assert await verified.account.amount() == 2


async def test_keys_rotate_without_a_restart(verified: Viewer) -> None:
    network = verified.network
    for key in (2, 3):
        network.add(key)
        view = await verified.start()
        verified.account.clock.advance(timedelta(seconds=30))
        await verified.complete(view)
        assert await verified.told(view) == "verified"
    network.path.write_text("{")
    view = await verified.start()
    assert await verified.told(view) == "verified"  # a file that is being written does not forget the keys
    network.drop(3)
    with pytest.raises(VerificationRefused):
        await verified.told(view)
