"""Pages of other origins: those that are listed, everybody without cookies, or nobody."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from starlette.types import Receive, Send

from tests.fixtures.postgres import ServiceDatabase
from tests.services.gateway.harness import Gateway, Seen, answer_json, make_settings, running_gateway

APP = "https://app.example.org"
OTHER = "https://evil.example.org"
UPLOADS = "/api/storage/uploads"


def preflight(origin: str, method: str = "PATCH") -> dict[str, str]:
    asked = "authorization,content-type,tus-resumable,upload-offset"
    return {"origin": origin, "access-control-request-method": method, "access-control-request-headers": asked}


async def head(gateway: Gateway, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    async with gateway.http.request(method, gateway.url + path, headers=headers) as answer:
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}


def told(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control-")}


async def test_by_default_nobody(gateway: Gateway) -> None:
    person = await gateway.sign_up()
    status, headers = await head(gateway, "OPTIONS", UPLOADS, preflight(APP))
    assert (status, told(headers)) == (403, {})
    status, headers = await head(gateway, "GET", "/api/storage/quota", {**person.bearer, "origin": APP})
    assert (status, told(headers)) == (200, {})
    assert "vary" not in headers


async def test_a_listed_origin_may_use_everything(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async def answer(_seen: Seen, _receive: Receive, send: Send) -> None:
        own = [(b"access-control-allow-origin", b"*"), (b"location", b"/there"), (b"vary", b"Accept")]
        await answer_json(send, 200, b"{}", *own)

    async with running_gateway(gateway_db, tmp_path, cors_origins=f"http://localhost:3000, {APP}") as gateway:
        gateway.stub.answers["/api/storage/quota"] = answer
        person = await gateway.sign_up()
        seen = len(gateway.stub.seen)
        status, headers = await head(gateway, "OPTIONS", f"{UPLOADS}/1", preflight(APP))
        assert status == 204
        assert headers["access-control-allow-origin"] == APP
        assert headers["access-control-allow-credentials"] == "true"
        assert "upload-offset" in headers["access-control-allow-headers"]
        assert {"PATCH", "DELETE", "HEAD"} <= set(headers["access-control-allow-methods"].split(", "))
        assert len(gateway.stub.seen) == seen, "no service was asked"

        async with gateway.http.get(
            f"{gateway.url}/api/storage/quota", headers={**person.bearer, "origin": APP}
        ) as found:
            assert found.headers.getall("access-control-allow-origin") == [APP]
            assert found.headers.getall("vary") == ["Accept", "Origin"]
            exposed = found.headers["access-control-expose-headers"].split(", ")
            wanted = {"Location", "Upload-Offset", "Upload-Expires", "Tus-Resumable", "ETag", "X-File-Id"}
            assert wanted | {"Retry-After"} <= set(exposed)

        status, headers = await head(gateway, "GET", "/api/storage/quota", {"origin": APP})
        assert (status, headers["access-control-allow-origin"]) == (401, APP), "a refusal can be read, too"
        for origin in (OTHER, "null", f"{APP}.evil.org", APP.upper()):
            status, headers = await head(gateway, "OPTIONS", UPLOADS, preflight(origin))
            assert (status, told(headers), headers["vary"]) == (403, {}, "Origin")
            status, headers = await head(gateway, "GET", "/api/storage/quota", {**person.bearer, "origin": origin})
            assert (status, told(headers)) == (200, {})
        _, headers = await head(gateway, "GET", "/app", {"origin": APP})
        assert told(headers) == {}, "pages are nobody else's"


async def test_everybody_but_without_cookies(gateway_db: ServiceDatabase, tmp_path: Path) -> None:
    async with running_gateway(gateway_db, tmp_path, cors_origins=f"*,{APP}") as gateway:
        _, headers = await head(gateway, "OPTIONS", UPLOADS, preflight(OTHER))
        assert headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in headers
        _, headers = await head(gateway, "OPTIONS", UPLOADS, preflight(APP))
        assert (headers["access-control-allow-origin"], headers["access-control-allow-credentials"]) == (APP, "true")


@pytest.mark.parametrize("origin", ["app.example.org", "https://app.example.org/", "https://*.example.org", "null"])
def test_what_is_no_origin_is_refused_at_the_start(gateway_db: ServiceDatabase, tmp_path: Path, origin: str) -> None:
    with pytest.raises(ValidationError, match="wanted: https://host"):
        make_settings(gateway_db, tmp_path, "http://127.0.0.1:1", cors_origins=origin)
