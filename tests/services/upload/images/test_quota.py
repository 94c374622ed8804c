"""The month's images: exact whatever happens at once, and every refusal says why (S2)."""

import asyncio
import io
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from services.upload.tenants import repository as tenants
from shared.db import Database
from tests.services.upload.images.conftest import Photographer, Studio, form, picture

PICTURE = picture()


async def refused(who: Photographer, code: str) -> dict[str, Any]:
    status, answer = await who.send(PICTURE)
    assert (status, answer["code"]) == (403, code)
    return answer  # type: ignore[no-any-return]


async def test_an_image_and_what_is_left(studio: Studio) -> None:
    studio.billing.images, studio.billing.plan = 50, "pro"
    who = studio.photographer()
    status, made = await who.send(PICTURE)
    assert status == 201, made
    info = {"plan_name": "pro", "quota_limit": 50, "quota_used": 1, "quota_remaining": 49}
    assert made == {
        "image_id": made["image_id"],
        "url": made["url"],
        "key": f"customers/{who.tenant}/images/{made['image_id']}.png",
        "size_bytes": len(PICTURE),
        "content_type": "image/png",
        "expires_in_hours": 24,
        "quota_info": info,
        "message_code": "IMAGE_QUOTA_REMAINING",
    }
    assert await who.get(made["url"].removeprefix(who.service.url)) == PICTURE
    assert await who.image_quota() == {"can_upload": True, "quota_info": info, "message_code": "IMAGE_QUOTA_REMAINING"}


async def test_fifty_pass_at_once_and_the_fifty_first_does_not(studio: Studio) -> None:
    """64 clients on two processes; a third of them hang up in the middle and come again."""
    studio.billing.images = 50
    one = studio.photographer()
    await one.image_quota()  # the account is there
    chance = random.Random(7)

    async def client(number: int) -> int:
        who = studio.photographer(number % 2, one.tenant)
        for _ in range(chance.randrange(3)):
            await hang_up(who)
        status, answer = await who.send(PICTURE)
        while status == 403 and answer["quota_info"]["quota_used"] > await stored(studio, one):
            # Held by somebody who is about to hang up, maybe: what is stored decides in the end.
            await asyncio.sleep(0.05)
            status, answer = await who.send(PICTURE)
        return status

    statuses = await asyncio.gather(*(client(number) for number in range(64)))
    assert (statuses.count(201), statuses.count(403)) == (50, 14)
    answer = await refused(one, "IMAGE_QUOTA_EXCEEDED")
    assert answer["quota_info"] == {
        "plan_name": "free",
        "quota_limit": 50,
        "quota_used": 50,
        "quota_remaining": 0,
    }
    quota = await one.image_quota()
    assert (quota["can_upload"], quota["message_code"]) == (False, "IMAGE_QUOTA_EXCEEDED")
    assert await stored(studio, one) == 50
    assert not await studio.query("SELECT FROM reservation")


async def test_one_image_and_everybody_at_once(studio: Studio) -> None:
    studio.billing.images = 1
    tenant = uuid4()
    everybody = [studio.photographer(number % 2, tenant) for number in range(64)]
    statuses = [status for status, _ in await asyncio.gather(*(who.send(PICTURE) for who in everybody))]
    assert (statuses.count(201), statuses.count(403)) == (1, 63)


async def test_what_fails_gives_its_image_back(studio: Studio) -> None:
    studio.billing.images = 1
    who = studio.photographer()
    await hang_up(who, held=lambda: studio.query("SELECT FROM reservation"))
    while await studio.query("SELECT FROM reservation"):
        await asyncio.sleep(0.01)
    status, answer = await who.send(b"<html>no picture at all</html>" * 1000)
    assert (status, answer["code"]) == (415, "type_not_allowed")
    status, answer = await who.send(b"GIF")
    assert (status, answer["code"]) == (415, "type_not_allowed")
    status, answer = await who.send(PICTURE, {"category": "unheard of"})
    assert (status, answer["code"]) == (422, "unknown_category")
    status, answer = await who.send(PICTURE, {"kind": "painted"})
    assert (status, answer["code"]) == (422, "invalid_kind")
    assert (await who.image_quota())["quota_info"]["quota_remaining"] == 1
    assert (await who.send(PICTURE))[0] == 201


async def test_an_image_that_comes_in_crumbs(studio: Studio) -> None:
    """Its first bytes alone say nothing yet: they are no reason to refuse."""
    who = studio.photographer()
    await who.image_quota()
    writer = form(PICTURE, {})()
    made = Collected()
    await writer.write(made)  # type: ignore[arg-type]
    start = made.content.index(PICTURE)

    async def crumbs() -> Any:
        for end, begin in ((start + 2, 0), (start + 5, start + 2), (len(made.content), start + 5)):
            yield made.content[begin:end]
            await asyncio.sleep(0.4)  # longer than it takes to begin: what waits is read together

    kind = writer.headers["Content-Type"]
    status, answer, _ = await who.call("POST", "/api/images/upload", data=crumbs(), headers={"Content-Type": kind})
    assert (status, answer.get("content_type")) == (201, "image/png")


async def test_a_deleted_image_stays_counted(studio: Studio) -> None:
    studio.billing.images = 1
    who = studio.photographer()
    _, made = await who.send(PICTURE)
    status, _, _ = await who.call("DELETE", f"/api/storage/files/{made['image_id']}")
    assert status == 204
    await refused(who, "IMAGE_QUOTA_EXCEEDED")


async def test_a_file_that_happens_to_be_a_picture_is_a_file(studio: Studio) -> None:
    studio.billing.images = 0
    who = studio.photographer()
    assert (await who.send(PICTURE, {"category": "documents"}, path="/api/storage/upload"))[0] == 201


@pytest.mark.parametrize(
    ("now", "zone", "next_month"),
    [
        # Auckland is 13 hours ahead in summer: its December begins while it is still November in Greenwich.
        (datetime(2026, 11, 30, 10, 59, 59, tzinfo=UTC), "Pacific/Auckland", "2026-12-01"),
        (datetime(2026, 12, 1, 7, 59, 59, tzinfo=UTC), "America/Los_Angeles", "2026-12-01"),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), "UTC", "2027-01-01"),
    ],
)
async def test_the_month_ends_where_the_tenant_is(studio: Studio, now: datetime, zone: str, next_month: str) -> None:
    studio.billing.images = 2
    who = studio.photographer()
    await who.image_quota()
    await set_zone(studio, who, zone)
    studio.clock.advance(now - studio.clock.now())
    assert [(await who.send(PICTURE))[0] for _ in range(3)] == [201, 201, 403]
    studio.clock.advance(timedelta(seconds=1))
    assert (await who.image_quota())["quota_info"]["quota_used"] == 0
    assert [(await who.send(PICTURE))[0] for _ in range(3)] == [201, 201, 403]
    months = await studio.query("SELECT month, used FROM image_month ORDER BY month")
    assert [(str(row["month"]), row["used"]) for row in months][1] == (next_month, 2)


async def test_an_image_counts_in_the_month_it_began_in(studio: Studio) -> None:
    studio.billing.images = 1
    who = studio.photographer()
    await who.image_quota()
    studio.clock.advance(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC) - studio.clock.now())
    go = asyncio.Event()
    under_way = asyncio.create_task(send_in_two(who, go))
    while not await studio.query("SELECT FROM reservation"):
        await asyncio.sleep(0.01)
    studio.clock.advance(timedelta(seconds=2))
    assert (await who.send(PICTURE))[0] == 201  # of December
    go.set()
    assert await under_way == 201
    months = await studio.query("SELECT month, used FROM image_month ORDER BY month")
    assert [(str(row["month"]), row["used"]) for row in months] == [("2026-11-01", 1), ("2026-12-01", 1)]


async def test_a_place_given_away_is_not_taken_twice(studio: Studio) -> None:
    """A reservation that expired while its image came: the image that took its place stays the only one."""
    studio.billing.images = 1
    who = studio.photographer()
    await who.image_quota()
    go = asyncio.Event()
    slow = asyncio.create_task(send_in_two(who, go))
    while not await studio.query("SELECT FROM reservation WHERE size > 0"):
        await asyncio.sleep(0.01)
    await studio.query("UPDATE reservation SET expires_at = now() - interval '1 second'")
    assert (await who.send(PICTURE))[0] == 201
    go.set()
    assert await slow in {403, 409}
    assert await stored(studio, who) == 1
    assert (await studio.query("SELECT count(*) AS n FROM stored_file"))[0]["n"] == 1


async def test_unlimited(studio: Studio) -> None:
    studio.billing.images, studio.billing.plan = None, "elite"
    who = studio.photographer()
    _, made = await who.send(PICTURE)
    info = {"plan_name": "elite", "quota_limit": None, "quota_used": 1, "quota_remaining": None}
    assert (made["quota_info"], made["message_code"]) == (info, "IMAGE_QUOTA_UNLIMITED")
    assert await who.image_quota() == {"can_upload": True, "quota_info": info, "message_code": "IMAGE_QUOTA_UNLIMITED"}


async def test_a_plan_without_images(studio: Studio) -> None:
    studio.billing.images, studio.billing.plan = 0, "essential"
    who = studio.photographer()
    info = {"plan_name": "essential", "quota_limit": 0, "quota_used": 0, "quota_remaining": 0}
    answer = await refused(who, "IMAGE_QUOTA_PLAN_NOT_ALLOWED")
    assert (answer["quota_info"], answer["upgrade_url"]) == (info, "/app/plans")
    quota = await who.image_quota()
    assert quota == {"can_upload": False, "quota_info": info, "message_code": "IMAGE_QUOTA_PLAN_NOT_ALLOWED"}


async def test_no_plan(studio: Studio) -> None:
    studio.billing.plan = None
    who = studio.photographer()
    assert (await refused(who, "IMAGE_QUOTA_NO_PLAN"))["quota_info"] is None
    quota = await who.image_quota()
    assert quota == {"can_upload": False, "quota_info": None, "message_code": "IMAGE_QUOTA_NO_PLAN"}


@pytest.mark.parametrize("lost", ["billing", "database", "zone"])
async def test_what_cannot_be_known_is_refused(studio: Studio, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    who = studio.photographer()
    services = studio.apps[0].app.state.services
    if lost == "billing":
        monkeypatch.setattr(services.image_quota._entitlements._billing, "_base", "http://127.0.0.1:1")
    else:
        await who.image_quota()
    if lost == "zone":
        await set_zone(studio, who, "Atlantis/Poseidonis")
    if lost == "database":

        async def broken(*_: object) -> None:
            raise ConnectionResetError

        monkeypatch.setattr("services.upload.quota.writer.commit_batch", broken)
    assert (await refused(who, "IMAGE_QUOTA_CHECK_ERROR"))["quota_info"] is None
    assert not await studio.query("SELECT FROM stored_file")
    if lost != "database":
        quota = await who.image_quota()
        assert quota == {"can_upload": False, "quota_info": None, "message_code": "IMAGE_QUOTA_CHECK_ERROR"}


async def test_a_repeat_counts_once(studio: Studio) -> None:
    studio.billing.images = 2
    who = studio.photographer()
    key = {"Idempotency-Key": "once"}
    answers = await asyncio.gather(*(who.send(PICTURE, headers=key) for _ in range(4)))
    again = await who.send(PICTURE, headers=key)
    done = [answer for status, answer in [*answers, again] if status == 201]
    assert len({answer["image_id"] for answer in done}) == 1
    assert again[0] == 201
    assert (await who.image_quota())["quota_info"]["quota_used"] == 1


async def test_quota_by_address(studio: Studio) -> None:
    studio.billing.images = 50
    who, other = studio.photographer(), studio.photographer()
    assert (await who.get(f"/api/images/quota/{who.email.upper()}"))["quota_info"]["quota_remaining"] == 50
    answers = [await who.call("GET", f"/api/images/quota/{email}") for email in (other.email, "nobody@example.com")]
    assert [(status, body["code"]) for status, body, _ in answers] == [(404, "image_quota_not_found")] * 2


async def test_quota_of_somebody_else(studio: Studio) -> None:
    """Whoever manages a tenant sees it of its members, staff of anybody, members of nobody but themselves."""
    studio.billing.images = 50
    owner, colleague, stranger = (studio.photographer() for _ in range(3))
    colleague.tenant = owner.tenant
    for who in (owner, colleague, stranger):
        studio.billing.people[who.email] = [who.tenant]
    await stranger.send(PICTURE)

    async def used(who: Photographer, email: str) -> int | None:
        status, answer, _ = await who.call("GET", f"/api/images/quota/{email}")
        assert status in {200, 404}
        return answer["quota_info"]["quota_used"] if status == 200 else None

    assert await used(owner, colleague.email) == 0
    colleague.role = "member"
    assert await used(colleague, owner.email) is None
    assert await used(colleague, colleague.email) == 0
    assert await used(owner, stranger.email) is None
    owner.is_admin = True
    assert await used(owner, stranger.email) == 1
    assert await used(owner, "nobody@example.com") is None


async def test_bytes_are_counted_with_it(studio: Studio) -> None:
    studio.billing.images, studio.billing.limit = 50, len(PICTURE)
    who = studio.photographer()
    assert (await who.send(PICTURE))[0] == 201
    status, answer = await who.send(PICTURE)
    assert (status, answer["code"]) == (413, "quota_exceeded")
    assert (await who.image_quota())["quota_info"]["quota_used"] == 1


async def hang_up(
    who: Photographer, held: Callable[[], Awaitable[Any]] | None = None, path: str = "/api/images/upload"
) -> None:
    """Sends half a picture and goes, not before something is `held` for it."""
    body = form(PICTURE, {})
    writer = body()
    made = Collected()
    await writer.write(made)  # type: ignore[arg-type]
    kind = writer.headers["Content-Type"]

    async def half() -> Any:
        yield made.content[: len(made.content) // 2]
        while held is not None and not await held():
            await asyncio.sleep(0.01)
        raise ConnectionResetError

    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await who.call("POST", path, data=half(), headers={"Content-Type": kind})


async def send_in_two(who: Photographer, go: asyncio.Event) -> int:
    writer = form(PICTURE, {})()
    made = Collected()
    await writer.write(made)  # type: ignore[arg-type]

    async def body() -> Any:
        yield made.content[: len(made.content) // 2]
        await asyncio.wait_for(go.wait(), 20)
        yield made.content[len(made.content) // 2 :]

    kind = writer.headers["Content-Type"]
    status, _, _ = await who.call("POST", "/api/images/upload", data=body(), headers={"Content-Type": kind})
    return status


class Collected:
    """What aiohttp would write to a connection."""

    def __init__(self) -> None:
        self._content = io.BytesIO()

    async def write(self, chunk: bytes) -> None:
        self._content.write(chunk)

    @property
    def content(self) -> bytes:
        return self._content.getvalue()


async def set_zone(studio: Studio, who: Photographer, zone: str) -> None:
    async with Database(studio.apps[0].dsn.worker, pool_size=2) as worker, worker.transaction() as connection:
        await tenants.upsert(connection, [{"tenant_id": str(who.tenant), "timezone": zone, "deleted_at": None}])
    for app in studio.apps:
        app.app.state.services.image_quota._entitlements._terms.clear()


async def stored(studio: Studio, who: Photographer) -> int:
    rows = await studio.query(
        "SELECT coalesce(sum(used), 0)::int AS n FROM image_month WHERE tenant_id = $1", who.tenant
    )
    return int(rows[0]["n"])
