"""Uploads in the page go on where they stopped, whatever came between. The endpoint misbehaves; the rest is real."""

import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import SIZES
from tests.browser.tus_server import TusServer
from tests.fixtures.postgres import PostgresServer
from tests.services.gateway.harness import Gateway, json_answer, running_gateway
from tests.services.gateway.pages.samples import FILES, PLANS, QUOTA, SUBSCRIPTION

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
MB = 1024 * 1024
SIZE = 20 * MB  # two whole pieces and a half


@dataclass
class Desk:
    """Somebody signed in before the storage page, with a file in hand."""

    gateway: Gateway
    server: TusServer
    context: BrowserContext
    page: Page
    file: Path

    async def choose(self) -> None:
        await self.page.locator("form#upload input[type=file]").set_input_files(self.file)

    async def says(self, text: str) -> None:
        await expect(self.page.locator("#transfers")).to_contain_text(text, timeout=20_000)

    async def came(self, size: int) -> None:
        """So many bytes are with the server."""
        while not self.server.uploads or len(self.server.uploads[-1].content) < size:
            await self.page.wait_for_timeout(20)

    @property
    def is_whole(self) -> bool:
        return self.server.uploads[-1].sha256 == hashlib.sha256(self.file.read_bytes()).hexdigest()


@pytest.fixture
async def desk(browser: Browser, pg: PostgresServer, tmp_path: Path) -> AsyncIterator[Desk]:
    async with running_gateway(pg.create("gateway"), tmp_path) as gateway:
        gateway.stub.answers |= {
            "/api/storage/quota": json_answer(200, QUOTA),
            "/api/storage/files": json_answer(200, FILES),
            "/api/plans": json_answer(200, PLANS),
            "/api/subscription": json_answer(200, SUBSCRIPTION),
        }
        person = await gateway.sign_up()
        context = await browser.new_context(viewport=SIZES["phone"])
        await context.add_cookies([{"name": "stowage_access", "value": person.access, "url": gateway.url}])
        file = tmp_path / "Straße am Hafen.bin"
        file.write_bytes(secrets.token_bytes(SIZE))
        page = await context.new_page()
        await page.goto(f"{gateway.url}/app")
        yield Desk(gateway, TusServer(gateway.stub), context, page, file)
        await context.close()


async def test_a_file_goes_in_pieces(desk: Desk) -> None:
    await desk.choose()
    await desk.says("stored")
    assert desk.is_whole
    [upload] = desk.server.uploads
    said = dict(pair.split(" ") for pair in upload.metadata.split(","))
    assert {name: base64.b64decode(value).decode() for name, value in said.items()} == {
        "filename": "Straße am Hafen.bin",
        "filetype": "application/octet-stream",
        "category": "documents",
    }
    pieces = [seen for seen in desk.gateway.stub.seen if seen.method == "PATCH"]
    assert [int(seen.values("upload-offset")[0]) // MB for seen in pieces] == [0, 8, 16]
    assert await desk.page.evaluate("Object.keys(localStorage)") == []


async def test_a_cut_line_costs_nothing_that_had_arrived(desk: Desk) -> None:
    desk.server.cut = 11 * MB
    await desk.choose()
    await desk.says("stored")
    assert desk.is_whole
    assert desk.server.uploads[0].received == SIZE, "nothing was sent twice"


async def test_without_a_network_it_waits_and_goes_on(desk: Desk) -> None:
    desk.server.held.clear()
    await desk.choose()
    await desk.says("%")
    await desk.context.set_offline(True)
    desk.server.cut = 1
    desk.server.held.set()
    await desk.says("waiting for the connection")
    await desk.page.wait_for_timeout(1_500)
    await desk.context.set_offline(False)
    await desk.says("stored")
    assert desk.is_whole
    assert len(desk.server.uploads) == 1


async def test_after_a_reload_the_same_file_goes_on(desk: Desk, shots: Path) -> None:
    await desk.choose()
    await desk.came(8 * MB)
    desk.server.held.clear()
    await desk.page.reload()
    desk.server.held.set()
    await desk.says("is stored. Choose the file again to go on.")
    await desk.page.screenshot(path=shots / "upload-begun-phone.png", full_page=True)
    wide = await desk.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    await desk.choose()
    await expect(desk.page.locator("#transfers li.begun")).to_have_count(0)
    await desk.page.wait_for_function("document.querySelector('#transfers .state')?.textContent === 'stored'")
    assert desk.is_whole
    assert len(desk.server.uploads) == 1


async def test_what_was_begun_can_be_discarded(desk: Desk) -> None:
    desk.server.held.clear()
    await desk.choose()
    await desk.says("%")
    await desk.page.reload()
    await desk.page.get_by_role("button", name="Discard upload of Straße am Hafen.bin").click()
    await expect(desk.page.locator("#transfers li")).to_have_count(0)
    await desk.page.wait_for_function("Object.keys(localStorage).length === 0")
    while not desk.server.uploads[0].ended:
        await desk.page.wait_for_timeout(20)


async def test_cancelled_is_gone_from_the_server(desk: Desk) -> None:
    desk.server.held.clear()
    await desk.choose()
    await desk.says("%")
    await desk.page.get_by_role("button", name="Cancel").click()
    await expect(desk.page.locator("#transfers li")).to_have_count(0)
    while not desk.server.uploads[0].ended:
        await desk.page.wait_for_timeout(20)


async def test_one_that_has_expired_begins_again(desk: Desk) -> None:
    await desk.choose()
    await desk.came(8 * MB)
    desk.server.held.clear()
    desk.server.uploads[0].ended = True
    desk.server.cut = 1
    desk.server.held.set()
    await desk.says("stored")
    assert desk.is_whole
    assert len(desk.server.uploads) == 2


async def test_a_refusal_is_said_and_can_be_tried_again(desk: Desk) -> None:
    desk.server.refusal = json.dumps({"code": "quota_exceeded", "detail": "…"}).encode()
    await desk.choose()
    await desk.says("Does not fit")
    desk.server.refusal = None
    await desk.page.get_by_role("button", name="Try again").click()
    await desk.says("stored")
    assert desk.is_whole
