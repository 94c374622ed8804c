"""The pages as a browser without JavaScript meets them."""

import json
import re
from html import unescape
from typing import Any, Self

import aiohttp
import pytest
from starlette.types import Receive, Send

from services.gateway.pages.rules import Quota, file_line, message_of, plan_card, plan_cards
from tests.services.gateway.harness import (
    PASSWORD,
    Gateway,
    Seen,
    answer_json,
    json_answer,
    read_all,
)
from tests.services.gateway.pages.samples import FILES, PLANS, QUOTA, SUBSCRIPTION


class Browser:
    """Keeps cookies, follows no redirect by itself."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def get(self, path: str) -> tuple[int, str]:
        async with self.http.get(self.gateway.url + path, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("location") or await answer.text()

    async def post(self, path: str, **fields: str) -> tuple[int, str]:
        """Status, and where it leads or what it shows."""
        async with self.http.post(self.gateway.url + path, data=fields, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("location") or await answer.text()

    async def token(self, path: str) -> str:
        _, page = await self.get(path)
        found = re.search(r'name="csrf" (?:value|content)="([^"]+)"', page)
        assert found is not None, page
        return found[1]

    async def sign_up(self, email: str = "ada@example.test") -> None:
        fields = {"email": email, "password": PASSWORD, "name": "Ada", "organization": "Harbour"}
        assert await self.post("/signup", csrf=await self.token("/"), **fields) == (303, "/app")


def _furnish(gateway: Gateway) -> None:
    gateway.stub.answers |= {
        "/api/storage/quota": json_answer(200, QUOTA),
        "/api/storage/files": json_answer(200, FILES),
        "/api/plans": json_answer(200, PLANS),
        "/api/subscription": json_answer(200, SUBSCRIPTION),
    }


async def test_sign_up_and_look_around(gateway: Gateway) -> None:
    _furnish(gateway)
    async with Browser(gateway) as browser:
        await browser.sign_up()
        assert (await browser.get("/"))[0] == 303
        status, page = await browser.get("/app")
        assert status == 200
        assert 'data-level="warn"' in page
        assert "85 MB" in page
        assert "of <span" in page
        assert "Q3 &lt;report&gt;.pdf" in page
        assert "Upgrade to Pro" in page
        status, page = await browser.get("/app/plans")
        assert (status, page.count("Your plan")) == (200, 1)
        assert page.index('<li class="lacks">No images</li>') < page.index("<li>50 images a month</li>")


async def test_pages_carry_their_guard(gateway: Gateway) -> None:
    async with gateway.http.get(f"{gateway.url}/") as answer:
        policy = answer.headers["content-security-policy"]
        page = await answer.text()
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
    assert not re.search(r"<script(?![^>]*src=)|style=|onclick=|https?://", page)
    for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        async with gateway.http.get(gateway.url + asset) as answer:
            assert (answer.status, "immutable" in answer.headers["cache-control"]) == (200, True)
    for path in ("/static/nothing.css", "/static/..%2fsettings.py", "/nowhere"):
        async with gateway.http.get(gateway.url + path) as answer:
            assert (answer.status, "import" in await answer.text()) in ((404, False), (400, False))


async def test_log_out_and_in(gateway: Gateway) -> None:
    async with Browser(gateway) as browser:
        await browser.sign_up()
        assert await browser.post("/logout", csrf=await browser.token("/app")) == (303, "/")
        assert await browser.get("/app") == (303, "/")
        token = await browser.token("/")
        status, page = await browser.post("/login", csrf=token, email="ada@example.test", password="wrong password")
        assert status == 401
        assert "The e-mail address or the password is wrong." in page
        assert 'value="ada@example.test"' in page
        assert await browser.post("/login", csrf=token, email="ada@example.test", password=PASSWORD) == (303, "/app")


async def test_sign_up_says_what_is_wrong_and_keeps_what_was_typed(gateway: Gateway) -> None:
    async with Browser(gateway) as browser:
        fields = {"email": "ada@example.test", "password": "short", "name": 'Ada "L"'}
        status, page = await browser.post("/signup", csrf=await browser.token("/"), **fields)
        assert status == 422
        assert "A password has at least 10 characters." in page
        assert 'Ada "L"' in unescape(page)
        assert "short" not in page


async def test_forms_need_their_token(gateway: Gateway) -> None:
    async with Browser(gateway) as browser, Browser(gateway) as other:
        await browser.sign_up()
        foreign = await other.token("/")
        fields = {"email": "x@example.test", "password": PASSWORD, "name": "X", "plan": "pro"}
        for path in ("/signup", "/login", "/logout", "/app/upgrade"):
            for token in ("", "1.x", foreign):
                status, page = await browser.post(path, csrf=token, **fields)
                assert status == 403, path
                assert "<html" in page


async def test_api_by_cookie_needs_the_token_for_changes(gateway: Gateway) -> None:
    async with Browser(gateway) as browser:
        await browser.sign_up()
        token = await browser.token("/app")
        url = f"{gateway.url}/api/storage/upload"
        async with browser.http.get(f"{gateway.url}/api/me") as answer:
            assert answer.status == 200
        async with browser.http.post(url, data=b"x") as answer:
            assert (answer.status, (await answer.json())["code"]) == (403, "csrf_failed")
        async with browser.http.post(url, data=b"x", headers={"x-csrf-token": token}) as answer:
            assert answer.status == 200
    person = await gateway.sign_up()
    assert (await gateway.call("POST", "/api/storage/upload", headers=person.bearer, data=b"x"))[0] == 200


async def test_expired_access_is_renewed_on_the_way(gateway: Gateway) -> None:
    _furnish(gateway)
    async with Browser(gateway) as browser:
        await browser.sign_up()
        jar = {cookie.key: cookie for cookie in browser.http.cookie_jar}
        old = jar["stowage_refresh"].value
        browser.http.cookie_jar.update_cookies({"stowage_access": "gone"}, _url(gateway))
        assert (await browser.get("/app"))[0] == 200
        jar = {cookie.key: cookie for cookie in browser.http.cookie_jar}
        assert jar["stowage_refresh"].value != old
        # A second tab that woke with the same cookie at the same moment gets the same successor.
        tab = {"stowage_access": "gone", "stowage_refresh": old}
        async with gateway.http.get(f"{gateway.url}/app", cookies=tab, allow_redirects=False) as answer:
            assert answer.status == 200
        assert (await browser.get("/app"))[0] == 200


async def test_upload_form_streams_and_comes_back(gateway: Gateway) -> None:
    bodies: list[bytes] = []

    async def store(_seen: Seen, receive: Receive, send: Send) -> None:
        bodies.append(await read_all(receive))
        await answer_json(send, 201, b"{}")

    gateway.stub.answers["/api/storage/upload"] = store
    async with Browser(gateway) as browser:
        await browser.sign_up()
        _, page = await browser.get("/app")
        found = re.search(r'action="(/app/upload\?csrf=[^"]+)"', page)
        assert found is not None
        form = aiohttp.FormData({"category": "documents"})
        form.add_field("file", b"0123456789" * 90_000, filename="a.txt")
        assert await _send(browser, unescape(found[1]), form) == (303, "/app?notice=uploaded")
        assert b"0123456789" * 90_000 in bodies[0]
        assert gateway.stub.seen[-1].path == "/api/storage/upload"
        gateway.stub.answers["/api/storage/upload"] = json_answer(413, b'{"code":"quota_exceeded"}')
        form = aiohttp.FormData({"category": "documents"})
        form.add_field("file", b"x" * 900_000, filename="a.txt")
        assert await _send(browser, unescape(found[1]), form) == (303, "/app?notice=quota_exceeded")
        assert "does not fit" in (await browser.get("/app?notice=quota_exceeded"))[1]
        form = aiohttp.FormData({"file": "x"})
        assert await _send(browser, "/app/upload?csrf=1.forged", form) == (303, "/app?notice=csrf_failed")


async def test_delete_and_upgrade_by_form(gateway: Gateway) -> None:
    file = "0190f0f0-0000-7000-8000-000000000001"
    payment = (
        b'{"payment_id":"p","amount":"3.00","currency":"EUR","payment_url":"http://pay.test/p","qr_code":"data:x"}'
    )
    gateway.stub.answers |= {
        f"/api/storage/files/{file}": json_answer(200, b"{}"),
        "/api/payments/harbour/initiate": json_answer(201, payment),
    }
    async with Browser(gateway) as browser:
        await browser.sign_up()
        token = await browser.token("/app")
        assert await browser.post(f"/app/files/{file}/delete", csrf=token) == (303, "/app?notice=deleted#files")
        assert (gateway.stub.seen[-1].method, gateway.stub.seen[-1].principal.tenant_slug) == ("DELETE", "harbour")
        status, page = await browser.post("/app/upgrade", csrf=token, plan="pro", method="mobile_money")
        assert status == 200
        assert 'href="http://pay.test/p"' in page
        assert "3.00 EUR" in page


def _invoice(number: int, gross: str, credited: str = "0.00") -> dict[str, Any]:
    return {
        "id": f"0190f0f0-0000-7000-8000-{number:012d}", "number": f"ST-{number}<b>", "kind": "invoice",
        "status": "open", "gross": gross, "credited": credited, "currency": "EUR", "due_at": "2026-03-14T12:00:00Z",
    }  # fmt: skip


async def test_an_open_invoice_is_shown_and_paid_without_a_script(gateway: Gateway) -> None:
    """Where the mail's "Pay the invoice" leads."""
    _furnish(gateway)
    invoices = {"items": [_invoice(7, "1200.00", "0.50"), _invoice(8, "3.00")], "next_cursor": None}
    payment = b'{"payment_id":"p","amount":"1199.50","currency":"EUR","payment_url":"http://pay.test/i","qr_code":null}'
    pay = "/api/invoices/0190f0f0-0000-7000-8000-000000000007/pay"
    gateway.stub.answers |= {
        "/api/invoices": json_answer(200, json.dumps(invoices).encode()),
        pay: json_answer(201, payment),
    }
    async with Browser(gateway) as browser:
        await browser.sign_up()
        _, page = await browser.get("/app/plans")
        asked = next(seen for seen in gateway.stub.seen if seen.path == "/api/invoices")
        assert "status=open" in asked.query
        part = page[page.index('id="invoices"') : page.index("</section>")]
        assert re.findall(r"<strong>([\d.]+)</strong>", part) == ["1199.50", "3.00"]
        assert "due 14 March 2026" in part
        assert 'href="/api/invoices/0190f0f0-0000-7000-8000-000000000007.pdf"' in part
        assert "ST-7&lt;b&gt;" in part
        action = re.search(r'action="([^"]+/pay)"', part)
        assert action is not None
        assert (await browser.post(action[1], csrf="1.forged"))[0] == 403
        token = await browser.token("/app/plans")
        status, page = await browser.post(action[1], csrf=token, method="mobile_money")
        assert (status, 'href="http://pay.test/i"' in page, "1199.50 EUR" in page) == (200, True, True)
        assert gateway.stub.seen[-1].path == pay
        gateway.stub.answers[pay] = json_answer(409, b'{"code":"invoice_not_open","detail":"x"}')
        where = "/app/plans?notice=invoice_not_open"
        assert await browser.post(action[1], csrf=token, method="credit_card") == (303, where)
        assert "is not open any more" in (await browser.get(where))[1]
        gateway.stub.answers["/api/invoices"] = json_answer(200, b'{"items":[],"next_cursor":null}')
        assert "Open invoices" not in (await browser.get("/app/plans"))[1]


@pytest.mark.parametrize("status", ["ready", "incomplete", "running", "expired"])
async def test_a_mails_link_leads_to_the_export_while_it_is_kept(gateway: Gateway, status: str) -> None:
    export = "0190f0f0-0000-7000-8000-000000000001"
    path = f"/api/user/exports/{export}"
    gateway.stub.answers[path] = json_answer(200, json.dumps({"status": status}).encode())
    async with Browser(gateway) as browser:
        assert await browser.get(f"/app/exports/{export}") == (303, "/")
        await browser.sign_up()
        there = f"{path}/content" if status in {"ready", "incomplete"} else "/app?notice=export_gone"
        assert await browser.get(f"/app/exports/{export}") == (303, there)


async def test_why_an_export_failed_is_said_where_its_mail_leads(gateway: Gateway) -> None:
    export = "0190f0f0-0000-7000-8000-000000000001"
    told = {"status": "failed", "error": "The store <does not> answer."}
    gateway.stub.answers[f"/api/user/exports/{export}"] = json_answer(200, json.dumps(told).encode())
    async with Browser(gateway) as browser:
        await browser.sign_up()
        status, page = await browser.get(f"/app/exports/{export}")
    assert status == 200
    assert "<h1>That export could not be made</h1>" in page
    assert "The store &lt;does not&gt; answer. It was tried many times." in page


async def test_file_opens_at_its_signed_address(gateway: Gateway) -> None:
    file = "0190f0f0-0000-7000-8000-000000000001"
    gateway.stub.answers[f"/api/storage/files/{file}/url"] = json_answer(200, b'{"url":"http://x.test/signed"}')
    async with Browser(gateway) as browser:
        await browser.sign_up()
        assert await browser.get(f"/app/files/{file}") == (303, "http://x.test/signed")


async def test_page_stands_without_its_services(gateway: Gateway) -> None:
    for path in ("/api/storage/quota", "/api/storage/files", "/api/plans", "/api/subscription"):
        gateway.stub.answers[path] = json_answer(503, b'{"code":"x","detail":"y"}')
    async with Browser(gateway) as browser:
        await browser.sign_up()
        status, page = await browser.get("/app")
        assert status == 200
        assert "cannot be shown" in page


def test_words_of_an_address_are_not_shown() -> None:
    assert message_of("<b>You won</b>") is None
    assert message_of(None) is None


@pytest.mark.parametrize(
    ("used", "limit", "level", "percent"),
    [
        (0, 100, "ok", "0 %"),
        (80, 100, "ok", "80 %"),
        (81, 100, "warn", "81 %"),
        (9999, 10000, "warn", "99.9 %"),
        (100, 100, "full", "100 %"),
        (0, 0, "full", "100 %"),
        (5, None, "ok", ""),
    ],
)
def test_levels_of_the_bar(used: int, limit: int | None, level: str, percent: str) -> None:
    quota = Quota(used, limit)
    assert (quota.level, quota.percent_text) == (level, percent)


def test_lines_and_cards() -> None:
    assert file_line({"file_id": 1, "file_name": "a.tar.gz", "file_size": 2048}).mark == "GZ"
    free: dict[str, Any] = {
        "code": "free", "name": "Free", "price": None, "currency": None, "interval": None,
        "entitlements": {
            "storage_bytes": 104857600, "traffic_bytes_month": None, "images_month": None, "projects": 2,
            "members": 1, "cpu": 0.3, "memory_bytes": 104857600, "custom_domains": False,
        },
    }  # fmt: skip
    card = plan_card(free, current="pro")
    assert not card.payable
    assert card.features[:3] == ["100 MB of storage", "Unlimited traffic", "Unlimited images"]
    assert card.features[3:5] == ["2 projects", "1 member"]
    assert not any("Deleted" in feature for feature in card.features)
    assert card.lacks == []


def test_cards_of_a_team_that_has_an_older_version() -> None:
    """What it has is marked and not sold again; what is less is not paid for here."""
    rights = dict.fromkeys(("storage_bytes", "traffic_bytes_month", "images_month", "projects", "members"))
    items = [
        {
            "code": code, "name": code, "price": price, "currency": "EUR", "interval": "month",
            "entitlements": {**rights, "isolation": "schema"}, "current": kind == "same", "change": {"kind": kind},
        }
        for code, price, kind in (
            ("tier1", "2.00", "downgrade"), ("tier2", "3.50", "same"), ("tier2", "4.00", "upgrade")
        )
    ]  # fmt: skip
    cards = plan_cards(items, current="tier2")
    assert [(card.current, card.payable) for card in cards] == [(False, False), (True, False), (False, True)]
    assert "A database schema of its own" in cards[0].features
    for item in items:
        item["current"] = False
    assert [card.current for card in plan_cards(items, current="tier1")] == [True, False, False]


@pytest.mark.parametrize(
    ("types", "days", "said"),
    [
        (None, 0, []),
        (["application/pdf", "image/*"], 30, ["Deleted files kept 30 days", "Images and PDF only"]),
        (["audio/*"], 1, ["Deleted files kept 1 day", "Audio files only"]),
        (["image/jpeg", "image/svg+xml", "text/csv", "application/x-tar"], 0, ["JPEG, SVG, CSV and TAR only"]),
        (
            ["application/msword", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"],
            0,
            ["Word only"],
        ),
    ],
)
async def test_cards_say_what_a_plan_takes_and_keeps(
    gateway: Gateway, types: list[str] | None, days: int, said: list[str]
) -> None:
    plans = json.loads(PLANS)
    plans["items"][0]["entitlements"] |= {"allowed_types": types, "trash_days": days}
    gateway.stub.answers["/api/plans"] = json_answer(200, json.dumps(plans).encode())
    async with Browser(gateway) as browser:
        await browser.sign_up()
        _, page = await browser.get("/app/plans")
    for text in said:
        assert text in page
    assert ("Deleted files" in page, " only<" in page) == (days > 0, types is not None)


async def _send(browser: Browser, path: str, form: aiohttp.FormData) -> tuple[int, str]:
    async with browser.http.post(browser.gateway.url + path, data=form, allow_redirects=False) as answer:
        return answer.status, answer.headers["location"]


def _url(gateway: Gateway) -> Any:
    from yarl import URL

    return URL(gateway.url)
