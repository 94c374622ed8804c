"""The pages of files in a real browser; what upload answers is made up, so that every state of a file is seen."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import SIZES
from tests.fixtures.postgres import PostgresServer
from tests.services.gateway.harness import Gateway, running_gateway
from tests.services.gateway.pages.samples import FILES
from tests.services.gateway.pages.test_files import ADDRESS, FILE, ID, Upload

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
TRASHED = [item | {"purge_at": "2026-03-31T12:00:00Z"} for item in orjson.loads(FILES)["items"]]


@pytest.fixture
async def gateway(pg: PostgresServer, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway(pg.create("gateway"), tmp_path) as running:
        Upload(running, [*TRASHED, FILE])
        yield running


async def signed_in(browser: Browser, gateway: Gateway, size: str, scheme: str) -> Page:
    person = await gateway.sign_up("Harbour & Sons")
    context = await browser.new_context(
        viewport=SIZES[size],
        color_scheme=scheme,  # type: ignore[arg-type]
        permissions=["clipboard-read", "clipboard-write"],
    )
    await context.add_cookies([{"name": "stowage_access", "value": person.access, "url": gateway.url}])
    return await context.new_page()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_they_look_finished(browser: Browser, gateway: Gateway, shots: Path, size: str, scheme: str) -> None:
    """Nothing overflows sideways, and nothing is said on the console."""
    page = await signed_in(browser, gateway, size, scheme)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    for name, path in (("list", "files"), ("trash", "trash"), ("one", f"files/{ID}/details?notice=shared")):
        await page.goto(f"{gateway.url}/app/{path}")
        await page.screenshot(path=shots / f"files-{name}-{size}-{scheme}.png", full_page=True)
        wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} px too wide"
    assert complaints == []
    await page.context.close()


async def test_a_keyboard_is_enough(browser: Browser, gateway: Gateway) -> None:
    page = await signed_in(browser, gateway, "desk", "light")
    await page.goto(f"{gateway.url}/app/files")
    await page.get_by_label("Name contains").focus()
    await page.keyboard.type("Q3")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/app/files?name=Q3")
    reached = []
    for _ in range(20):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent"))
    assert {"Files", "Trash", "Filter", "Show all", "Q3 <report>.pdf", "Download Q3 <report>.pdf"} <= set(reached)
    await page.context.close()


async def test_a_link_is_copied(browser: Browser, gateway: Gateway) -> None:
    page = await signed_in(browser, gateway, "desk", "light")
    await page.goto(f"{gateway.url}/app/files/{ID}/details")
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == ADDRESS
    await page.context.close()
