"""Buckets fill and empty; the door says when to come back."""

from pathlib import Path

from services.gateway.door.address import client_address
from services.gateway.limits.buckets import Buckets, Rate
from tests.fixtures.postgres import ServiceDatabase
from tests.services.gateway.harness import Gateway, running_gateway


def test_bucket_gives_its_burst_then_its_rate() -> None:
    now = [0.0]
    buckets = Buckets(Rate(per_second=2, burst=3), time=lambda: now[0])
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a") == 0.5
    assert buckets.take("b") == 0
    now[0] = 0.5
    assert buckets.take("a") == 0
    now[0] = 100
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_memory_is_bounded() -> None:
    buckets = Buckets(Rate(1, 1), capacity=10, time=lambda: 0.0)
    for key in range(1000):
        buckets.take(key)
    assert len(buckets._buckets) == 10


def test_address_behind_proxies() -> None:
    said = [(b"x-forwarded-for", b"6.6.6.6, 10.0.0.7"), (b"x-forwarded-for", b"10.0.0.8")]
    assert client_address("1.1.1.1", said, 0) == "1.1.1.1"
    assert client_address("1.1.1.1", said, 1) == "10.0.0.8"
    assert client_address("1.1.1.1", said, 2) == "10.0.0.7"
    assert client_address("1.1.1.1", said, 9) == "1.1.1.1"


async def test_tenant_limit_holds_for_one_tenant(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async with running_gateway(gateway_db, tmp_path, tenant_burst=5, tenant_rate=0.1) as gateway:
        person, other = await gateway.sign_up(), await gateway.sign_up()
        found = [(await gateway.call("GET", "/api/storage/quota", headers=person.bearer))[0] for _ in range(6)]
        assert found == [200] * 5 + [429]
        async with gateway.http.get(f"{gateway.url}/api/storage/quota", headers=person.bearer) as answer:
            assert (answer.status, (await answer.json())["code"]) == (429, "rate_limited")
            assert 1 <= int(answer.headers["retry-after"]) <= 10
        assert (await gateway.call("GET", "/api/storage/quota", headers=other.bearer))[0] == 200


async def test_address_limit_comes_before_everything(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async with running_gateway(gateway_db, tmp_path, address_burst=2, address_rate=0.1) as gateway:
        found = [(await gateway.call("GET", "/api/plans"))[0] for _ in range(3)]
        assert found == [200, 200, 429]
        assert (await gateway.call("GET", "/healthz"))[0] == 200


async def test_generous_by_default(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    for _ in range(300):
        assert (await gateway.call("GET", "/api/storage/quota", headers=person.bearer))[0] == 200
