"""Browsers, as far as a store sees them: plain HTTP, nothing but what the offer says."""

from typing import Any

import aiohttp

from shared.security import Principal
from shared.security import sign as sign_internal
from tests.services.upload.conftest import SECRET, Customer

Answer = tuple[int, Any, dict[str, str]]
OPEN = "/api/storage/direct-uploads"


def through_the_gateway() -> dict[str, str]:
    """What the gateway adds for somebody without an account."""
    return {"stowage-internal": sign_internal(Principal(), secret=SECRET, audience="upload", issuer="gateway")}


async def offer(customer: Customer, size: int, **said: Any) -> Any:
    body = {"file_name": "note.txt", "file_size": size, "category": "documents", "content_type": "text/plain", **said}
    status, made, _ = await customer.call("POST", OPEN, json=body)
    assert status == 201, made
    return made


async def send(http: aiohttp.ClientSession, made: dict[str, Any], content: bytes) -> int:
    """In the way the offer asks for; the store's last answer."""
    if made["part_size"] is not None:
        return await send_parts(http, made, content)
    if made["method"] == "POST":
        kind, body = form(made["fields"], content)
        async with http.post(made["url"], data=body, headers={"Content-Type": kind}) as answer:
            return answer.status
    own = through_the_gateway() if "/api/storage/direct/" in made["url"] else {}
    async with http.put(made["url"], data=content, headers=made["headers"] | own) as answer:
        return answer.status


def form(fields: dict[str, str], content: bytes) -> tuple[str, bytes]:
    """As browsers write it: a field has no type of its own, the file comes last."""
    head = "".join(
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    )
    head += '--edge\r\nContent-Disposition: form-data; name="file"; filename="blob"\r\nContent-Type: text/plain\r\n\r\n'
    return "multipart/form-data; boundary=edge", head.encode() + content + b"\r\n--edge--\r\n"


async def send_parts(http: aiohttp.ClientSession, made: dict[str, Any], content: bytes) -> int:
    size, status = made["part_size"], 0
    for part in made["parts"]:
        start = (part["number"] - 1) * size
        async with http.put(part["url"], data=content[start : start + size]) as answer:
            status = answer.status
    return status


async def complete(customer: Customer, upload_id: str, **said: Any) -> Answer:
    return await customer.call("POST", f"{OPEN}/{upload_id}/complete", json=said)
