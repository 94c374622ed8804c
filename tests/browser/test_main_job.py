"""The main job with a mouse: sign up, upload, watch the bar, be refused, pay, go on; and without JavaScript."""

import asyncio
import hashlib
import re
import secrets
import tempfile
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import SIZES
from tests.fixtures.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
MB = 1024 * 1024


async def sign_up(page: Page, stack: Stack) -> str:
    email = f"bea-{secrets.token_hex(4)}@example.com"
    await page.goto(stack.url)
    form = page.locator("form[action='/signup']")
    await form.get_by_label("Your name").fill("Bea Browser")
    await form.get_by_label("E-mail").fill(email)
    await form.get_by_label("Password").fill(secrets.token_urlsafe(12))
    await form.get_by_role("button").click()
    await page.wait_for_url("**/app*")
    return email


async def choose(page: Page, name: str, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(secrets.token_bytes(size))
        await page.locator("form#upload input[type=file]").set_input_files(file)
        await expect(page.locator("#transfers li.busy")).to_have_count(0, timeout=30_000)


async def pay(page: Page, stack: Stack, shots: Path | None = None) -> None:
    """From our page to the provider's and back."""
    if shots:
        await page.screenshot(path=shots / "pay.png", full_page=True)
    await page.get_by_role("link", name="Continue to payment").click()
    if shots:
        await page.screenshot(path=shots / "provider.png", full_page=True)
    await page.get_by_role("button", name="Pay 3.00 EUR").click()
    await page.wait_for_url(f"{stack.url}/app**")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_pages_look_finished(browser: Browser, stack: Stack, shots: Path, size: str, scheme: str) -> None:
    """Nothing overflows sideways, nothing fails to load, nothing is said on the console."""
    context = await browser.new_context(viewport=SIZES[size], color_scheme=scheme)  # type: ignore[arg-type]
    page = await context.new_page()
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None
    )
    # Going to another page ends what the last one was still asking for.
    page.on(
        "requestfailed",
        lambda request: complaints.append(request.url) if request.failure != "net::ERR_ABORTED" else None,
    )
    await page.goto(stack.url)
    await page.screenshot(path=shots / f"home-{size}-{scheme}.png", full_page=True)
    await sign_up(page, stack)
    await choose(page, "harbour plan.pdf", 3 * MB)
    await expect(page.locator("#file-list")).to_contain_text("harbour plan.pdf", timeout=15_000)
    for name, path in (("app", "/app"), ("files", "/app/files"), ("plans", "/app/plans")):
        await page.goto(f"{stack.url}{path}")
        await page.screenshot(path=shots / f"{name}-{size}-{scheme}.png", full_page=True)
        wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} px too wide"
    assert complaints == []
    await context.close()


async def test_the_bar_follows_and_the_upgrade_works(browser: Browser, stack: Stack, shots: Path) -> None:
    page = await browser.new_page(viewport=SIZES["desk"])
    await sign_up(page, stack)
    usage, used = page.locator("#usage"), page.locator("[data-show=used]")
    await choose(page, "first.bin", 40 * MB)
    await expect(used).to_have_text("40 MB", timeout=20_000)
    await choose(page, "second.bin", 45 * MB)
    await expect(used).to_have_text("85 MB", timeout=20_000)
    await expect(usage).to_have_attribute("data-level", re.compile("warn"))
    await expect(page.locator("#notes")).to_contain_text("80 %", timeout=15_000)
    await page.screenshot(path=shots / "app-warning.png", full_page=True)
    await choose(page, "third.bin", 15 * MB)
    await expect(used).to_have_text("100 MB", timeout=20_000)
    await expect(usage).to_have_attribute("data-level", re.compile("full"))
    await expect(page.get_by_role("alert").filter(has_text="full")).to_be_visible()
    await page.screenshot(path=shots / "app-full.png", full_page=True)
    await choose(page, "too-much.bin", 1 * MB)
    await expect(page.locator("#transfers")).to_contain_text(re.compile("fit|full", re.IGNORECASE), timeout=15_000)
    await page.get_by_role("button", name="Upgrade to Pro").click()
    await pay(page, stack, shots)
    await expect(page.locator("[data-show=limit]")).to_have_text("10 GB", timeout=15_000)
    await expect(page.get_by_role("button", name="Upgrade to Pro")).to_have_count(0, timeout=15_000)
    await choose(page, "fits-now.bin", 1 * MB)
    await expect(used).to_have_text("101 MB", timeout=20_000)
    await page.context.close()


async def test_an_upload_outlives_the_network_and_the_page(browser: Browser, stack: Stack, tmp_path: Path) -> None:
    """The network is pulled in the middle, then the page is loaded again: each time it goes on where it stopped."""
    context = await browser.new_context(viewport=SIZES["phone"])
    page = await context.new_page()
    await sign_up(page, stack)
    line = await context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 8 * MB}
    await line.send("Network.emulateNetworkConditions", slow)
    file = tmp_path / "large plan.bin"
    file.write_bytes(secrets.token_bytes(48 * MB))
    picked, row = page.locator("form#upload input[type=file]"), page.locator("#transfers")
    await picked.set_input_files(file)
    await expect(row).to_contain_text(re.compile(r"[23]\d %"), timeout=20_000)
    await line.send("Network.emulateNetworkConditions", {**slow, "offline": True})
    await expect(row).to_contain_text("waiting for the connection", timeout=20_000)
    await line.send("Network.emulateNetworkConditions", slow)
    await expect(row).to_contain_text(re.compile(r"[67]\d %"), timeout=30_000)
    await page.reload()
    await expect(row).to_contain_text("is stored. Choose the file again to go on.", timeout=15_000)
    await picked.set_input_files(file)
    await expect(page.locator("#file-list")).to_contain_text("large plan.bin", timeout=30_000)
    await expect(page.locator("[data-show=used]")).to_have_text("48 MB", timeout=20_000)
    await page.goto(f"{stack.url}/app/files?name=large")
    await page.get_by_role("link", name="large plan.bin", exact=True).click()
    await expect(page.locator(".hash")).to_have_text(hashlib.sha256(file.read_bytes()).hexdigest())
    await context.close()


async def test_it_works_without_javascript(browser: Browser, stack: Stack) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await sign_up(page, stack)
    file = {"name": "plain form.txt", "mimeType": "text/plain", "buffer": b"x" * 2 * MB}
    await page.locator("form#upload input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    await page.locator("form#upload button[type=submit]").click()
    await expect(page.locator("#file-list")).to_contain_text("plain form.txt", timeout=15_000)
    await expect(page.locator("[data-show=used]")).to_have_text("2 MB")
    await page.get_by_role("button", name="Delete plain form.txt").click()
    await expect(page.locator("#file-list")).not_to_contain_text("plain form.txt")
    await expect(page.locator("[data-show=used]")).to_have_text("0 Bytes")
    await page.get_by_role("button", name="Upgrade to Pro").click()
    await pay(page, stack)
    async with asyncio.timeout(20):
        while await page.locator("[data-show=limit]").text_content() != "10 GB":
            await asyncio.sleep(0.2)
            await page.reload()
    await context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_operators_pages_look_finished(browser: Browser, stack: Stack, shots: Path, scheme: str) -> None:
    """Traces, one trace's waterfall, and mail: on a phone too nothing overflows sideways."""
    context = await browser.new_context(viewport=SIZES["phone"], color_scheme=scheme)  # type: ignore[arg-type]
    page = await context.new_page()
    await sign_up(page, stack)
    console = stack.status["traces_url"]
    await page.goto(console)
    await expect(page.locator("a[href^='/trace/']").first).to_be_visible(timeout=15_000)
    for name, size in (("phone", SIZES["phone"]), ("desk", SIZES["desk"])):
        await page.set_viewport_size(size)
        for part, address in (("traces", console), ("mail", stack.status["mail_url"])):
            await page.goto(address)
            await page.screenshot(path=shots / f"{part}-{name}-{scheme}.png", full_page=True)
            wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{part} is {wide} px too wide"
    await page.goto(console)
    await page.locator("a[href^='/trace/']").first.click()
    await page.screenshot(path=shots / f"trace-{scheme}.png", full_page=True)
    await context.close()
