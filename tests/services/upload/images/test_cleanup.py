"""Clean-up of what only looking at pictures can find: those that look the same, and thumbnails nobody looks at."""

import random
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from tests.services.upload.images.conftest import Photographer, Studio, picture

PATH = "/api/user/storage-cleanup"


async def clean(who: Photographer, **body: Any) -> dict[str, Any]:
    status, answer, _ = await who.call("POST", PATH, json=body)
    assert status == 200, answer
    return answer  # type: ignore[no-any-return]


async def send(who: Photographer, content: bytes) -> str:
    status, made = await who.send(content)
    assert status == 201, made
    return made["image_id"]  # type: ignore[no-any-return]


async def test_of_pictures_that_look_the_same_the_largest_stays(studio: Studio) -> None:
    who, stranger = studio.photographer(), studio.photographer()
    largest = await send(who, picture(1, (640, 480)))
    smaller = await send(who, picture(1, (320, 240)))
    recoded = await send(who, picture(1, (640, 480), "JPEG", quality=80))
    other = await send(who, picture(2, (640, 480)))
    theirs = await send(stranger, picture(1, (100, 75)))
    await studio.look_at_all()
    plan = await clean(who, near_duplicates=True, dry_run=True)
    assert {item["id"]: item["keeps"] for item in plan["items"]} == {smaller: largest, recoded: largest}
    done = await clean(who, plan_id=plan["plan_id"])
    assert done["freed_bytes"] == plan["bytes"] > 0
    left = {item["file_id"] for item in (await who.get("/api/storage/files"))["items"]}
    assert left == {largest, other}
    assert [item["file_id"] for item in (await stranger.get("/api/storage/files"))["items"]] == [theirs]
    assert (await clean(who, near_duplicates=True, dry_run=True))["items"] == []


@dataclass
class Seen:
    """A picture the analysis has seen, as rows alone; `turned`: by how much its embedding is another's, in radians."""

    phash: int
    pixels: int
    turned: float = 0.0
    id: UUID = field(default_factory=uuid4)


async def show(studio: Studio, who: Photographer, seen: list[Seen]) -> None:
    await who.image_quota()  # so that there is an account
    await studio.query(
        """
        WITH seen AS (
            SELECT * FROM unnest($2::uuid[], $3::bigint[], $4::int[], $5::float[])
                WITH ORDINALITY AS s(id, phash, pixels, turned, n)
        ), files AS (
            INSERT INTO stored_file (id, tenant_id, path, name, size, content_type, file_type, category, sha256,
                created_at)
            SELECT id, $1, id::text, 'picture.png', 10, 'image/png', 'image', 'images', md5(id::text), now() FROM seen
        )
        INSERT INTO image (file_id, tenant_id, sha256, width, height, phash, model, embedding)
        SELECT id, $1, md5(id::text), pixels, 1, phash, 'layout-256', ARRAY[cos(turned), sin(turned)]::vector FROM seen
        """,
        who.tenant,
        [one.id for one in seen],
        [one.phash for one in seen],
        [one.pixels for one in seen],
        [one.turned for one in seen],
    )


async def test_hundreds_of_copies_of_one_picture_are_all_found(studio: Studio) -> None:
    """They share whole quarters of their hash, and so do hundreds of other pictures and a pair of small ones."""
    who, dice = studio.photographer(), random.Random(7)
    copies = [Seen(0x1234_5678_9ABC_DEF0 ^ 1 << dice.randrange(62), 1000 - n, dice.uniform(0, 0.1)) for n in range(400)]
    others = [Seen(dice.getrandbits(48) << 14 & ~0xFFFF | 0xDEF0, 5000 + n) for n in range(500)]
    pair = [Seen(0x0F0F_0F0F_0F0F_DEF0, 9), Seen(0x0F0F_0F0F_0F0F_DEF0, 8)]
    alike_but_for_what_they_show = Seen(0x1234_5678_9ABC_DEF0, 7, 1.5)
    await show(studio, who, [*copies, *others, *pair, alike_but_for_what_they_show])
    plan = await clean(who, near_duplicates=True, dry_run=True)
    items = [*plan["items"]]
    while plan["next_cursor"]:
        plan = await who.get(f"{PATH}/{plan['plan_id']}?limit=200&cursor={plan['next_cursor']}")
        items += plan["items"]
    assert {item["id"]: item["keeps"] for item in items} == {
        **{str(copy.id): str(copies[0].id) for copy in copies[1:]},
        str(pair[1].id): str(pair[0].id),
    }


async def test_the_kept_picture_cannot_go_at_the_same_time(studio: Studio) -> None:
    who = studio.photographer()
    largest, smaller = await send(who, picture(1, (640, 480))), await send(who, picture(1, (320, 240)))
    await studio.look_at_all()
    plan = await clean(who, near_duplicates=True, dry_run=True)
    assert (await who.call("DELETE", f"/api/storage/files/{largest}"))[0] == 204
    done = await clean(who, plan_id=plan["plan_id"])
    assert [item["outcome"] for item in done["items"]] == ["changed"]
    assert [item["file_id"] for item in (await who.get("/api/storage/files"))["items"]] == [smaller]


async def test_thumbnails_nobody_looks_at(studio: Studio) -> None:
    who = studio.photographer()
    old, fresh, looked_at = [await send(who, picture(seed, (300, 200))) for seed in (1, 2, 3)]
    for image in (old, fresh, looked_at):
        await who.get(f"/api/images/{image}/thumbnail?size=64")
    await studio.query(
        "UPDATE thumbnail SET last_used = now() - interval '40 days' WHERE file_id::text = ANY($1)", [old, looked_at]
    )
    plan = await clean(who, thumbnails=True, older_than_days=30, dry_run=True)
    assert {item["id"] for item in plan["items"]} == {old, looked_at}
    await studio.query("UPDATE thumbnail SET last_used = now() WHERE file_id::text = $1", looked_at)
    done = await clean(who, plan_id=plan["plan_id"])
    assert {item["id"]: item["outcome"] for item in done["items"]} == {old: "freed", looked_at: "changed"}
    rows = await studio.query("SELECT file_id::text FROM thumbnail")
    assert {row["file_id"] for row in rows} == {fresh, looked_at}
    assert (await who.get(f"/api/images/{old}/thumbnail?size=64")) != b"", "it is made again"
