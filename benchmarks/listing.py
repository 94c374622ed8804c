"""Pages of a list of files, and of one of folders: of a customer with a million, and of one with ten thousand."""

import random
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import aiohttp

from benchmarks.report import Row, percentile
from benchmarks.service import Service, service
from services.upload.files.listing import Filters, Position
from shared.http import encode_cursor
from tests.fixtures.postgres import PostgresServer

MANY, FEW = 1_000_000, 10_000
ROUNDS = 5  # the one in the middle counts: the slowest hundredth of a few pages says more of the machine than of us
PAGES = 480  # of each in a round, in turns, each from a place in the list that chance chooses
ASKED: tuple[Mapping[str, str], ...] = (
    {},
    {"sort": "name"},
    {"sort": "size"},
    {"type": "document"},
    {"folder": "f7"},
    {"name": "7-report"},
)
_FILES = """
    INSERT INTO stored_file (id, tenant_id, path, name, size, content_type, file_type, category, sha256, created_at,
        metadata, folder, updated_at)
    SELECT gen_random_uuid(), $1, concat($1::uuid, '/', n), n || '-report.pdf', n % 9973, 'application/pdf', 'document',
        'documents', repeat('0', 64), now() - n * interval '1 second', '{}', 'f' || n % 100, now()
    FROM generate_series(1, $2::int) AS n
"""
_CHOSEN = "SELECT to_jsonb(f) FROM stored_file AS f WHERE tenant_id = $1 AND folder = 'f7' ORDER BY random() LIMIT $2"


async def run(pg: PostgresServer) -> list[Row]:
    async with service(pg) as ours, aiohttp.ClientSession() as http:
        few, many = await _customer(ours, http, FEW), await _customer(ours, http, MANY)
        async with ours.connection() as connection:
            await connection.execute("VACUUM ANALYZE stored_file")
        rounds = sorted([await _round(few, many) for _ in range(ROUNDS)], key=_ratio)
        folders = sorted([await _folder_round(few, many) for _ in range(ROUNDS)], key=_ratio)
    seconds = rounds[ROUNDS // 2]
    ratio = _ratio(seconds)
    return [
        _folder_row(folders),
        Row(
            "a page of 50 out of 1,000,000 files, p99",
            "ms",
            percentile(seconds[MANY], 0.99) * 1000,
            percentile(seconds[FEW], 0.99) * 1000,
            percentile(seconds[FEW], 0.5) * 1000,
            f"{ratio:.2f} × out of 10,000",
            "≤ 1.2 × out of 10,000",
            ratio <= 1.2,
            f"textbook: out of 10,000; raw: their median. {PAGES} pages each in turns, six sorts and filters; "
            f"the middle of {ROUNDS} rounds, of {_ratio(rounds[0]):.2f} to {_ratio(rounds[-1]):.2f}",
        ),
    ]


async def _round(few: "_Customer", many: "_Customer") -> dict[int, list[float]]:
    """Seconds of each page, by the customer's files."""
    seconds: dict[int, list[float]] = {FEW: [], MANY: []}
    for number in range(PAGES):
        for customer in (few, many) if number % 2 else (many, few):
            seconds[customer.files].append(await customer.page(ASKED[number % len(ASKED)]))
    return seconds


async def _folder_round(few: "_Customer", many: "_Customer") -> dict[int, list[float]]:
    seconds: dict[int, list[float]] = {FEW: [], MANY: []}
    for number in range(PAGES):
        for customer in (few, many) if number % 2 else (many, few):
            seconds[customer.files].append(await customer.folders())
    return seconds


def _folder_row(rounds: list[dict[int, list[float]]]) -> Row:
    seconds = rounds[ROUNDS // 2]
    ratio = _ratio(seconds)
    return Row(
        "a page of 50 folders of 100, with 1,000,000 files in them, p99",
        "ms",
        percentile(seconds[MANY], 0.99) * 1000,
        percentile(seconds[FEW], 0.99) * 1000,
        percentile(seconds[FEW], 0.5) * 1000,
        f"{ratio:.2f} × with 10,000",
        "≤ 1.2 × with 10,000",
        ratio <= 1.2,
        f"textbook: with 10,000 files; raw: their median. {PAGES} pages each in turns; "
        f"the middle of {ROUNDS} rounds, of {_ratio(rounds[0]):.2f} to {_ratio(rounds[-1]):.2f}",
    )


def _ratio(seconds: Mapping[int, list[float]]) -> float:
    return percentile(seconds[MANY], 0.99) / percentile(seconds[FEW], 0.99)


class _Customer:
    def __init__(self, ours: Service, http: aiohttp.ClientSession, tenant: UUID, files: int, rows: list[Any]) -> None:
        self.files = files
        self._ours, self._http, self._headers = ours, http, ours.headers_of(tenant)
        self._rows = rows
        self._chance = random.Random(files)

    async def page(self, asked: Mapping[str, str]) -> float:
        """Seconds."""
        after = Position.of(Filters(**asked), None).past(self._chance.choice(self._rows))
        query = {**asked, "limit": "50", "cursor": encode_cursor(*after)}
        seconds, found = await self._get("files", query)
        assert found["items"] or not found["next_cursor"]
        return seconds

    async def folders(self) -> float:
        """Seconds."""
        cursor = encode_cursor(f"f{self._chance.randrange(10, 50)}")
        seconds, found = await self._get("folders", {"limit": "50", "cursor": cursor})
        assert len(found["items"]) == 50
        return seconds

    async def _get(self, what: str, query: Mapping[str, str]) -> tuple[float, Any]:
        begun = time.perf_counter()
        url = f"{self._ours.url}/api/storage/{what}"
        async with self._http.get(url, params=query, headers=self._headers) as answer:
            found = await answer.json()
        assert answer.status == 200, found
        return time.perf_counter() - begun, found


async def _customer(ours: Service, http: aiohttp.ClientSession, files: int) -> _Customer:
    tenant = uuid4()
    async with http.get(f"{ours.url}/api/storage/quota", headers=ours.headers_of(tenant)) as answer:
        assert answer.status == 200
    async with ours.connection() as connection:
        await connection.execute(_FILES, tenant, files, timeout=600)
        rows = [row[0] for row in await connection.fetch(_CHOSEN, tenant, 500)]
    return _Customer(ours, http, tenant, files, rows)
