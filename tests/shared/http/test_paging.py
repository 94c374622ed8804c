import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from fastapi import APIRouter
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DomainError
from shared.http import Page, Paging, create_app, decode_cursor, encode_cursor
from shared.settings import ServiceSettings
from tests.services.billing.serving import served

NUMBERS = range(1, 121)
VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8"))

router = APIRouter()


@router.get("/numbers")
async def numbers(paging: Paging) -> Page[int]:
    after = 0 if paging.cursor is None else paging.cursor[0]
    items = [number for number in NUMBERS if number > after][: paging.limit + 1]
    more, items = len(items) > paging.limit, items[: paging.limit]
    return Page(items=items, next_cursor=encode_cursor(items[-1]) if more else None)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    secret = "0123456789abcdef0123456789abcdef-tests"
    settings = ServiceSettings(mode="local", database_url="unused", kafka_bootstrap="unused", internal_secret=secret)
    async with served(create_app(settings, title="Sample", routers=[router], public=True)) as address:
        yield f"{address}/numbers"


async def ask(url: str, **query: Any) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.get(url, params=query) as answer:
        return answer.status, json.loads(await answer.read())


@given(st.lists(VALUES, max_size=4))
def test_a_cursor_brings_its_key_back(key: list[Any]) -> None:
    assert decode_cursor(encode_cursor(*key)) == key


def test_times_and_ids_come_back_as_text() -> None:
    at, item = datetime(2026, 3, 1, 12, tzinfo=UTC), UUID(int=5)
    assert decode_cursor(encode_cursor(at, item)) == ["2026-03-01T12:00:00+00:00", str(item)]


@given(st.lists(VALUES, max_size=4))
def test_a_cursor_fits_into_an_address(key: list[Any]) -> None:
    assert set(encode_cursor(*key)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_a_key_that_is_no_list_is_refused() -> None:
    for foreign in (b"5", b"null", b'{"id": 1}', b"", b"["):
        with pytest.raises(DomainError) as refused:
            decode_cursor(base64.urlsafe_b64encode(foreign).decode())
        assert (refused.value.code, refused.value.status) == ("invalid_cursor", 422)


@given(st.text(max_size=30) | st.from_regex(r"[\w-]{0,30}", fullmatch=True))
def test_any_other_text_is_refused_in_the_same_way(text: str) -> None:
    try:
        assert isinstance(decode_cursor(text), list)
    except DomainError as error:
        refused = error.code
    else:
        refused = "invalid_cursor"
    assert refused == "invalid_cursor"


async def test_the_pages_make_up_the_whole(url: str) -> None:
    seen: list[int] = []
    query: dict[str, Any] = {"limit": 40}
    for expected in (40, 40, 40):
        status, page = await ask(url, **query)
        assert (status, len(page["items"])) == (200, expected)
        seen += page["items"]
        query["cursor"] = page["next_cursor"]
    assert seen == list(NUMBERS)
    assert query["cursor"] is None


async def test_fifty_when_no_limit_is_told(url: str) -> None:
    assert len((await ask(url))[1]["items"]) == 50


@pytest.mark.parametrize("limit", [1, 200])
async def test_the_smallest_and_the_largest_limit(url: str, limit: int) -> None:
    assert len((await ask(url, limit=limit))[1]["items"]) == min(limit, len(NUMBERS))


@pytest.mark.parametrize("limit", ["0", "-1", "201", "many", "1.5"])
async def test_other_limits_are_refused(url: str, limit: str) -> None:
    status, told = await ask(url, limit=limit)
    assert (status, told["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("cursor", ["", "not-one", "bnVsbA", "ä", "====", "\x00"])
async def test_a_foreign_cursor_is_refused(url: str, cursor: str) -> None:
    status, told = await ask(url, cursor=cursor)
    assert (status, told["code"]) == (422, "invalid_cursor")


async def test_a_cursor_is_short(url: str) -> None:
    status, told = await ask(url, cursor=encode_cursor("x" * 512))
    assert (status, told["code"]) == (422, "invalid_request")
