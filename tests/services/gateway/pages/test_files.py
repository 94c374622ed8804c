"""The pages of files as a browser without JavaScript meets them."""

from typing import Any
from uuid import uuid4

import orjson
import pytest
from starlette.types import Receive, Send

from tests.services.gateway.harness import Gateway, Seen, answer_json, json_answer, read_all
from tests.services.gateway.pages.samples import FILES
from tests.services.gateway.pages.test_pages import Browser

ID, LINK = "0198c0de-0000-7000-8000-0000000000f1", "0198c0de-0000-7000-8000-0000000000f2"
FILE = {
    "file_id": ID,
    "file_name": "Q3 <report>.pdf",
    "file_size": 1843200,
    "file_type": "document",
    "content_type": "application/pdf",
    "category": "documents",
    "folder": "2026/Q3",
    "sha256": "ab" * 32,
    "created_at": "2026-03-01T12:00:00Z",
    "purge_at": "2026-03-31T12:00:00Z",
}
ADDRESS = "http://127.0.0.1:8080/api/storage/signed/t/f?expires=1&link=2&sig=3"


def link(**changes: Any) -> dict[str, Any]:
    base = {"id": LINK, "url": ADDRESS, "state": "active", "expires_at": "2026-03-02T12:00:00Z", "uses": 1}
    return {**base, "has_password": True, **changes}


class Upload:
    """Answers as upload does, and remembers what was asked of it."""

    def __init__(self, gateway: Gateway, items: list[Any] | None = None) -> None:
        self.items = items or [FILE]
        self.told: list[tuple[str, str, str, Any]] = []
        self.links = [link(), link(id=str(uuid4()), state="revoked", uses=0, has_password=False)]
        self.refusal: tuple[int, str] | None = None
        paths = ("files", f"files/{ID}", f"files/{ID}/links", f"files/{ID}/restore", "links", f"links/{LINK}")
        gateway.stub.answers |= {f"/api/storage/{path}": self.answer for path in paths}
        gateway.stub.answers["/api/subscription"] = json_answer(200, b'{"entitlements":{"trash_days":30}}')

    @property
    def wish(self) -> Any:
        """The body of the last request."""
        return self.told[-1][3]

    async def answer(self, seen: Seen, receive: Receive, send: Send) -> None:
        body = await read_all(receive)
        self.told.append((seen.method, seen.path, seen.query, orjson.loads(body) if body else None))
        if self.refusal is not None and seen.method != "GET":
            status, code = self.refusal
            await answer_json(send, status, orjson.dumps({"code": code, "detail": "no"}))
            return
        found: Any = FILE
        if seen.path.endswith("/files"):
            found = orjson.loads(FILES) | {"next_cursor": "next+page", "items": self.items}
        elif seen.path.endswith("/api/storage/links"):
            found = {"items": self.links, "next_cursor": None}
        await answer_json(send, 200, orjson.dumps(found))


async def test_the_list_filters_and_goes_on(gateway: Gateway) -> None:
    upload = Upload(gateway)
    async with Browser(gateway) as browser:
        assert await browser.get("/app/files") == (303, "/")
        await browser.sign_up()
        status, page = await browser.get("/app/files?name=%20Q3%20%26%20co%20")
        assert status == 200
        assert "Q3 &lt;report&gt;.pdf" in page
        assert 'value="Q3 &amp; co"' in page
        assert 'href="/app/files?cursor=next%2Bpage&amp;name=Q3%20%26%20co"' in page
        assert 'href="/app/trash"' in page
        assert upload.told[-1][2] == "name=Q3+%26+co&limit=50"
        await browser.get("/app/files?cursor=next%2Bpage")
        assert upload.told[-1][2] == "cursor=next%2Bpage&limit=50"


async def test_a_plan_without_trash_shows_none(gateway: Gateway) -> None:
    Upload(gateway)
    gateway.stub.answers["/api/subscription"] = json_answer(200, b'{"entitlements":{"trash_days":0}}')
    async with Browser(gateway) as browser:
        await browser.sign_up()
        assert "/app/trash" not in (await browser.get("/app/files"))[1]


async def test_the_trash_gives_back_and_deletes_for_good(gateway: Gateway) -> None:
    upload = Upload(gateway)
    async with Browser(gateway) as browser:
        await browser.sign_up()
        _, page = await browser.get("/app/trash")
        assert upload.told[-1][2] == "trash=true&limit=50"
        assert "until 31 Mar, 12:00" in page
        token = await browser.token("/app/trash")
        assert await browser.post(f"/app/trash/{ID}/restore", csrf=token) == (303, "/app/trash?notice=restored")
        assert upload.told[-1][:2] == ("POST", f"/api/storage/files/{ID}/restore")
        assert await browser.post(f"/app/trash/{ID}/delete", csrf=token) == (303, "/app/trash?notice=deleted")
        assert upload.told[-1][:3] == ("DELETE", f"/api/storage/files/{ID}", "permanent=true")


async def test_one_file_is_renamed_shared_and_deleted(gateway: Gateway) -> None:
    upload = Upload(gateway)
    details = f"/app/files/{ID}/details"
    async with Browser(gateway) as browser:
        await browser.sign_up()
        status, page = await browser.get(details)
        assert status == 200
        assert page.count('class="address"') == 2
        assert page.count("/revoke") == 1, "what is revoked already cannot be revoked"
        assert "until 2 Mar, 12:00 UTC · password · used 1 time<" in page
        assert ("documents / 2026 / Q3" in page, "ab" * 32 in page) == (True, True)
        token = await browser.token(details)
        assert await browser.post(f"/app/files/{ID}/rename", csrf=token, name=" new.pdf ") == (
            303,
            f"{details}?notice=renamed",
        )
        assert upload.told[-1] == ("PATCH", f"/api/storage/files/{ID}", "", {"name": "new.pdf"})
        wish = {"expires_in": "86400", "password": "secret"}
        assert (await browser.post(f"/app/files/{ID}/share", csrf=token, **wish))[1] == f"{details}?notice=shared#links"
        assert upload.wish == {"expires_in": 86400, "password": "secret"}
        await browser.post(f"/app/files/{ID}/share", csrf=token, expires_in="999999999")
        assert upload.wish == {"expires_in": 3600}
        await browser.post(f"/app/files/{ID}/links/{LINK}/revoke", csrf=token)
        assert upload.told[-1][:2] == ("DELETE", f"/api/storage/links/{LINK}")
        form = {"csrf": token, "from": "files"}
        assert await browser.post(f"/app/files/{ID}/delete", **form) == (303, "/app/files?notice=deleted")


async def test_what_is_refused_is_said(gateway: Gateway) -> None:
    upload = Upload(gateway)
    async with Browser(gateway) as browser:
        await browser.sign_up()
        token = await browser.token(f"/app/files/{ID}/details")
        upload.refusal = (422, "invalid_name")
        _, where = await browser.post(f"/app/files/{ID}/rename", csrf=token, name="a/b")
        assert where.endswith("?notice=invalid_name")
        assert "That name cannot be used." in (await browser.get(where))[1]
        upload.refusal = (404, "file_not_found")
        assert (await browser.post(f"/app/trash/{ID}/restore", csrf=token))[1] == "/app/trash?notice=not_found"


@pytest.mark.parametrize("form", ["rename", "share", f"links/{LINK}/revoke", "delete"])
async def test_forms_want_their_token(gateway: Gateway, form: str) -> None:
    upload = Upload(gateway)
    async with Browser(gateway) as browser:
        await browser.sign_up()
        assert (await browser.post(f"/app/files/{ID}/{form}", name="x"))[0] == 403
    assert upload.told == []


async def test_what_does_not_come_is_left_out(gateway: Gateway) -> None:
    for path in ("files", "links"):
        gateway.stub.answers[f"/api/storage/{path}"] = json_answer(503, b"{}")
    gateway.stub.answers[f"/api/storage/files/{ID}"] = json_answer(200, orjson.dumps(FILE))
    async with Browser(gateway) as browser:
        await browser.sign_up()
        assert "The list cannot be shown" in (await browser.get("/app/files"))[1]
        assert "The links cannot be shown" in (await browser.get(f"/app/files/{ID}/details"))[1]
        gateway.stub.answers[f"/api/storage/files/{ID}"] = json_answer(404, b"{}")
        assert await browser.get(f"/app/files/{ID}/details") == (303, "/app/files?notice=not_found")
