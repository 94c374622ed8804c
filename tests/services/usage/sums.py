"""The breakdown sums to the total, in every answer that has both."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import aiohttp
import orjson

_TRAFFIC = ("traffic_in", "traffic_out", "traffic_bytes", "requests", "storage_bytes")
_HIDDEN = ("trashed_bytes", "trashed_files", "version_bytes", "version_files")
_DISK = ("volumes_bytes", "images_bytes", "total_bytes", "volumes", "images", "unknown")


class Summed(aiohttp.ClientResponse):
    """Looks at every answer of usage that is read through the gateway, by those who own the team."""

    async def read(self) -> bytes:
        body = await super().read()
        asked = self.url.path.startswith(("/api/usage/", "/api/storage/stats"))
        if self.status == 200 and asked and self.content_type == "application/json":
            assert_sums(orjson.loads(body), whole="cursor" not in self.url.query)
        return body


def assert_sums(answer: Any, *, whole: bool = True) -> bool:
    """Whether there was something to add up. `whole`: a list is not a page of several, and not one person's own."""
    if not isinstance(answer, dict):
        return False
    page = {"bytes", "next_cursor"} <= answer.keys() and (not whole or answer["next_cursor"] is not None)
    return not page and _assert_shape(answer, answer.keys())


def _assert_shape(answer: dict[str, Any], keys: Collection[str]) -> bool:
    if "breakdown" in keys:  # summary, stats, at
        total = answer.get("storage", answer)
        assert _sum(answer["breakdown"], "total_size") == total.get("used", total.get("stored"))
        assert _sum(answer["breakdown"], "file_count") == total["files"]
        if "time" not in answer:  # of a moment that is past the ledger's sums alone are told
            _assert_parts(answer["breakdown"], total, _HIDDEN)
    elif "storage_categories" in keys:
        assert _sum(answer["storage_categories"].values(), "bytes") == answer["total_used"]
    elif "by_category" in keys:  # proof
        _assert_parts([line["ledger"] for line in answer["by_category"]], answer["ledger"], ("bytes", "files"))
        if answer["equal"]:
            _assert_parts([line["counters"] for line in answer["by_category"]], answer["counters"], ("bytes", "files"))
    elif {"projects", "total"}.issubset(keys):  # disk
        _assert_parts(answer["projects"], answer["total"], _DISK)
    elif {"granularity", "total"}.issubset(keys):  # history
        _assert_history(answer["items"], answer["total"], answer["metric"])
    elif {"items", "total"}.issubset(keys):  # projects
        now = () if answer["total"]["files"] is None else ("files", *_HIDDEN)  # of a month that is over nobody knows
        _assert_parts(answer["items"], answer["total"], (*_TRAFFIC, *now))
    elif {"items", "bytes", "files"}.issubset(keys):  # users
        _assert_parts(answer["items"], answer, ("bytes", "files", *_HIDDEN))
    else:
        return False
    return True


def _assert_parts(parts: Iterable[Mapping[str, Any]], total: Mapping[str, Any], names: Iterable[str]) -> None:
    parts = list(parts)
    for name in names:
        assert _sum(parts, name) == total[name], name


def _assert_history(items: list[dict[str, Any]], total: dict[str, Any], metric: str) -> None:
    if metric not in {"storage", "files"}:
        assert _sum(items, "value") == total["value"]
        return
    assert items[-1]["value"] == total["value"]
    if metric == "storage":
        assert sum(_micros(item["byte_seconds"]) for item in items) == _micros(total["byte_seconds"])
        assert max(item["peak"] for item in items) == total["peak"]


def _micros(seconds: str) -> int:
    whole, _, rest = seconds.partition(".")
    return int(whole) * 1_000_000 + int(rest.ljust(6, "0"))


def _sum(parts: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(part[name] for part in parts)
