"""What looks at every answer sees one that does not add up, whatever its shape."""

from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.services.usage.api import Api
from tests.services.usage.samples import PEOPLE, PROJECTS, START, granted, stored, traffic
from tests.services.usage.sums import Summed, assert_sums

PATHS = [
    ("summary", ("storage", "used")),
    ("at?time=1970-01-01T00:00:03Z", ("used",)),
    ("projects?month=2026-03", ("total", "storage_bytes")),
    ("users", ("bytes",)),
    ("summary", ("storage", "trashed_files")),
    ("users", ("version_bytes",)),
    ("projects", ("total", "trashed_bytes")),
    ("projects", ("total", "files")),
    ("proof", ("ledger", "bytes")),
    ("disk", ("total", "volumes_bytes")),
    ("history?metric=storage&granularity=day", ("total", "value")),
    ("history?metric=files&granularity=day", ("total", "value")),
    ("history?metric=traffic&granularity=day", ("total", "value")),
]


@pytest.mark.parametrize(("path", "total"), PATHS)
async def test_every_shape_is_known(api: Api, path: str, total: tuple[str, ...]) -> None:
    person = {"project": PROJECTS[0], "by": PEOPLE[0]}
    await api.apply(granted(1, 1000), *(stored(seq, 10, **person) for seq in (1, 2)), stored(3, 10))  # type: ignore[arg-type]
    await api.moved(traffic(1, START + timedelta(hours=1), (PROJECTS[0], 1, 2, 3), (None, 4, 5, 6)))
    status, answer = await api.call("GET", f"/api/usage/{path}")
    assert status == 200
    assert assert_sums(answer)
    spoiled: Any = answer
    for name in total[:-1]:
        spoiled = spoiled[name]
    spoiled[total[-1]] += 1
    with pytest.raises(AssertionError):
        assert_sums(answer)


async def test_whoever_reads_with_it_meets_no_answer_that_does_not_add_up() -> None:
    wrong = {"storage": {"used": 3, "files": 1}, "breakdown": [{"total_size": 2, "file_count": 1}]}

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(wrong, status=int(request.query.get("status", "200")))

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}", response_class=Summed) as http:
        for path in ("/api/usage/summary", "/api/storage/stats"):
            async with http.get(path) as response:
                with pytest.raises(AssertionError):
                    await response.json()
        for path in ("/api/usage/summary?status=503", "/api/elsewhere"):
            async with http.get(path) as response:
                assert await response.json() == wrong
    await runner.cleanup()


@pytest.mark.parametrize(
    "answer",
    [
        {"stored": 3, "files": 1, "breakdown": [{"total_size": 2, "file_count": 1}]},
        {"total_used": 3, "storage_categories": {"a": {"bytes": 2, "files": 1}}},
    ],
)
def test_the_others_too(answer: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        assert_sums(answer)
