"""The stack's own page: traces with their waterfall, and the mail that was sent."""

import asyncio
import json
import re
import secrets
import smtplib
from email.message import EmailMessage
from typing import Any

import aiohttp
import pytest

from tests.fixtures.stack import Stack, person


async def get(http: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with http.get(url) as answer:
        return answer.status, await answer.text()


async def found(http: aiohttp.ClientSession, url: str, services: set[str]) -> list[dict[str, Any]]:
    """The trace's spans, as soon as all of these services have sent theirs, and each the one it is part of."""
    spans: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while not (services <= {span["service"] for span in spans} and _joined(spans)):
            status, body = await get(http, url)
            spans = json.loads(body)["spans"] if status == 200 else []
            await asyncio.sleep(0.1)
    return spans


def _joined(spans: list[dict[str, Any]]) -> bool:
    ids = {span["span_id"] for span in spans}
    return all(span["parent_id"] in ids for span in spans if span["service"] != "gateway")


async def test_one_upload_is_one_trace_over_all_processes(stack: Stack, http: aiohttp.ClientSession) -> None:
    console, trace = stack.status["traces_url"], secrets.token_hex(16)
    ada = await person(stack, http)
    (await ada.upload("hello.txt", b"hello", "documents", trace=trace)).expect(201, "an upload")
    services = {"gateway", "upload", "upload:worker", "usage:worker"}
    await found(http, f"{console}/api/traces/{trace}", services)
    status, page = await get(http, f"{console}/trace/{trace}")
    assert status == 200
    assert all(service in page for service in services)
    assert trace in (await get(http, console))[1]
    async with http.get(f"{console}/?trace={trace}") as answer:
        assert answer.url.path == f"/trace/{trace}"
    assert (await get(http, f"{console}/trace/{'0' * 32}"))[0] == 404


async def test_a_signed_link_is_not_in_its_trace(stack: Stack, http: aiohttp.ClientSession) -> None:
    """Whoever may look at traces may not therefore look at files."""
    ada = await person(stack, http)
    made = (await ada.upload("secret.txt", b"hello", "documents")).expect(201, "an upload")
    link = (await ada.get(f"/api/storage/files/{made['file_id']}/url"))["url"]
    signature = re.search(r"sig=([^&]+)", link)
    assert signature is not None, link
    trace = secrets.token_hex(16)
    async with http.get(link, headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}) as answer:
        assert answer.status == 200
    spans = await found(http, f"{stack.status['traces_url']}/api/traces/{trace}", {"gateway", "upload"})
    assert signature[1] not in json.dumps(spans)


async def test_mail_is_shown_and_its_text_is_only_text(stack: Stack, http: aiohttp.ClientSession) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@example.com", "b@example.com", "<script>alert(1)</script>"
    mail.set_content("The body <img src=x onerror=alert(1)> of it")
    ports = json.loads((stack.home / "run" / "ports.json").read_text())

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=10) as server:
            server.send_message(mail)

    await asyncio.to_thread(send)
    status, page = await get(http, stack.status["mail_url"])
    assert status == 200
    assert "b@example.com" in page
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page


@pytest.mark.parametrize("body", [b"", b"\xff\xff\xff", b"{}"])
async def test_nonsense_is_no_trace(stack: Stack, http: aiohttp.ClientSession, body: bytes) -> None:
    async with http.post(f"{stack.status['traces_url']}/v1/traces", data=body) as answer:
        assert answer.status in {200, 400, 415}
    assert (await get(http, stack.status["traces_url"]))[0] == 200
