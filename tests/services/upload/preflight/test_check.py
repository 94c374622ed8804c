"""`POST /api/storage/quota/check` against the real service."""

from typing import Any

import aiohttp
import pytest

from tests.services.upload.conftest import LIMIT, Billing, Customer, Upload
from tests.services.upload.images.conftest import picture


def plan(code: str, storage: int | None, price: str | None = None) -> dict[str, Any]:
    names = ("traffic_bytes_month", "images_month", "teams", "members", "projects", "cpu", "memory_bytes")
    limits = {**dict.fromkeys(names), "custom_domains": False, "max_file_bytes": None, "storage_bytes": storage}
    currency, interval = (None, None) if price is None else ("EUR", "month")
    named = {"code": code, "name": code.title(), "version": 1, "current": False}
    return {**named, "price": price, "currency": currency, "interval": interval, "entitlements": limits}


async def check(who: Customer, *files: dict[str, Any], **more: Any) -> tuple[int, Any]:
    status, answer, _ = await who.call("POST", "/api/storage/quota/check", json={"files": list(files), **more})
    return status, answer


async def test_what_it_says_comes_true(service: Upload, billing: Billing) -> None:
    billing.plans = [plan("free", LIMIT), plan("pro", 2 * LIMIT, "9.00"), plan("max", None, "99.00")]
    ada = service.customer()
    await ada.upload(b"x" * 1000)
    sizes = [LIMIT - 2000, 2000, 1000, 0]
    status, said = await check(ada, *({"size": size, "category": "documents"} for size in sizes))
    assert (status, said["fits"], said["missing"]) == (200, False, 2000)
    assert [file["fits"] for file in said["files"]] == [True, False, True, True]
    assert said["files"][1]["reasons"] == ["quota_exceeded"]
    assert said["plan"] == {
        "code": "pro",
        "name": "Pro",
        "price": "9.00",
        "currency": "EUR",
        "interval": "month",
        "storage_bytes": 2 * LIMIT,
    }
    assert said["upgrade_url"]
    assert said["quota"].items() <= (await ada.quota()).items()
    stored = [(await ada.upload(b"x" * size))[0] == 201 for size in sizes]
    assert stored == [file["fits"] for file in said["files"]]


async def test_images_are_counted_by_the_month(service: Upload, billing: Billing) -> None:
    """And the plan that is named has enough of them, and not only the bytes."""
    few, many = plan("few", None, "1.00"), plan("many", None, "2.00")
    few["entitlements"]["images_month"], many["entitlements"]["images_month"] = 3, 4
    billing.plans = [plan("free", LIMIT), few, many]
    billing.images = 2
    ada = service.customer()
    content = picture()
    form = aiohttp.FormData()
    form.add_field("file", content, filename="x.png", content_type="image/png")
    assert (await ada.call("POST", "/api/images/upload", data=form))[0] == 201
    image = {"size": len(content), "content_type": "image/png", "category": "images"}
    _, said = await check(ada, {**image, "size": LIMIT}, image, {"size": 1, "category": "documents"}, image)
    assert [file["reasons"] for file in said["files"]] == [["quota_exceeded"], [], [], ["IMAGE_QUOTA_EXCEEDED"]]
    assert said["plan"]["code"] == "many"
    billing.images = 0
    _, said = await check(service.customer(), image)
    assert said["files"][0]["reasons"] == ["IMAGE_QUOTA_PLAN_NOT_ALLOWED"]
    assert said["plan"]["code"] == "few"


async def test_what_fits_asks_nobody_for_plans(service: Upload, billing: Billing) -> None:
    billing.plans = [plan("max", None)]
    ada = service.customer()
    status, said = await check(ada, {"size": LIMIT})
    assert (status, said["fits"], said["missing"], said["plan"]) == (200, True, 0, None)


async def test_without_plans_the_answer_comes_all_the_same(service: Upload, billing: Billing) -> None:
    billing.plans = [{"code": "nonsense"}]
    status, said = await check(service.customer(), {"size": LIMIT + 7})
    assert (status, said["missing"], said["plan"]) == (200, 7, None)


async def test_reasons(service: Upload, billing: Billing) -> None:
    billing.max_file = 100
    files: list[dict[str, Any]] = [
        {"size": 101},
        {"size": 1, "category": "nowhere"},
        {"size": 100, "content_type": "TEXT/plain; a=b"},
    ]
    _, said = await check(service.customer(), *files)
    assert [file["reasons"] for file in said["files"]] == [["file_too_large"], ["unknown_category"], []]
    assert said["missing"] == 0


@pytest.mark.parametrize("files", [[], [{"size": -1}], [{"size": 2**70}], [{}], [{"size": 1}] * 1001])
async def test_nonsense_is_refused(service: Upload, files: list[dict[str, Any]]) -> None:
    assert (await check(service.customer(), *files))[0] == 422
