"""An open invoice, where the mail about it leads: seen and paid, without JavaScript."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import SIZES
from tests.browser.test_main_job import pay, sign_up
from tests.fixtures.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

# A paid month that is over: the next one begins with an invoice.
_MONTH_LATER = """
    UPDATE subscription SET period_end = now() - interval '1 hour', anchor = anchor - interval '40 days',
        period_start = period_start - interval '40 days' WHERE period_end IS NOT NULL AND tenant_id = $1::text::uuid
"""


async def _until(page: Page, stack: Stack, count: int) -> None:
    """What the worker does by the clock is seen after a while."""
    async with asyncio.timeout(100):  # renewals are looked for once a minute
        while True:
            await page.goto(f"{stack.url}/app/plans")
            if await page.locator("#invoices li").count() == count:
                return
            await asyncio.sleep(0.5)


async def test_an_open_invoice_is_paid_from_the_plans_page(browser: Browser, stack: Stack, shots: Path) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    email = await sign_up(page, stack)
    await page.goto(f"{stack.url}/app/plans")
    await page.get_by_role("button", name="Upgrade to Pro").click()
    await pay(page, stack)
    sql = "SELECT m.tenant_id FROM membership AS m JOIN person AS p ON p.id = m.user_id WHERE p.email = $1"
    tenant = str((await stack.query("gateway", sql, email))[0][0])
    async with asyncio.timeout(30):
        while not await stack.query("billing", f"{_MONTH_LATER} RETURNING plan", tenant):
            await asyncio.sleep(0.2)
    await _until(page, stack, 1)
    for size, view in SIZES.items():
        await page.set_viewport_size(view)
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            await page.wait_for_timeout(300)  # buttons change their colour slowly
            await page.screenshot(path=shots / f"invoices-{size}-{scheme}.png", full_page=True)
        width = await page.locator("html").bounding_box()
        part = await page.locator("#invoices").bounding_box()
        assert width is not None
        assert part is not None
        assert part["x"] + part["width"] <= width["width"] <= view["width"], f"it is too wide on a {size}"
    await expect(page.locator("#invoices .figure")).to_have_text(re.compile(r"3\.00\s+EUR"))
    link = await page.get_by_role("link", name=re.compile("PDF of invoice")).get_attribute("href")
    answer = await context.request.get(f"{stack.url}{link}")
    assert (answer.status, (await answer.body())[:5]) == (200, b"%PDF-")
    await page.get_by_role("button", name=re.compile("Pay invoice .* by card")).click()
    await pay(page, stack)
    await expect(page.locator(".message")).to_contain_text("The invoice is settled as soon as")
    await _until(page, stack, 0)
    rows = await stack.query("billing", "SELECT status FROM subscription WHERE tenant_id = $1::text::uuid", tenant)
    assert rows[0]["status"] == "active"
    await context.close()
