"""Direct uploads at the door: signed URLs need no account, and Uppy's plugin sets no header."""

from tests.services.gateway.harness import Gateway
from tests.services.gateway.pages.test_pages import Browser


async def test_a_signed_url_is_let_through_without_an_account(gateway: Gateway) -> None:
    path = "/api/storage/direct/0198c0de-0000-7000-8000-000000000000?size=3&sig=x"
    assert (await gateway.call("PUT", path, data=b"abc"))[0] == 200
    seen = gateway.stub.seen[-1]
    assert (seen.principal.tenant_id, seen.body, seen.query) == (None, b"abc", "size=3&sig=x")
    for method in ("GET", "POST", "DELETE"):
        assert (await gateway.call(method, path))[0] == 401
    assert (await gateway.call("PUT", "/api/storage/direct-uploads/x", data=b"abc"))[0] == 401


async def test_uppys_requests_are_the_pages_own_when_the_browser_says_so(gateway: Gateway) -> None:
    async with Browser(gateway) as browser:
        await browser.sign_up()
        for path, site, status in (
            ("/api/storage/s3/multipart", "same-origin", 200),
            ("/api/storage/s3/multipart", "same-site", 403),
            ("/api/storage/s3/multipart", "cross-site", 403),
            ("/api/storage/s3/multipart", "", 403),
            ("/api/storage/upload", "same-origin", 403),
        ):
            headers = {"sec-fetch-site": site} if site else {}
            async with browser.http.post(gateway.url + path, data=b"{}", headers=headers) as answer:
                assert answer.status == status, (path, site)
