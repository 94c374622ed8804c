"""A resumable endpoint that misbehaves on demand, behind the real gateway."""

import asyncio
import hashlib
from dataclasses import dataclass, field

from starlette.types import Receive, Send

from tests.services.gateway.harness import Seen, Stub, answer_json

PATH = "/api/storage/uploads"


@dataclass
class Upload:
    length: int
    metadata: str
    content: bytearray = field(default_factory=bytearray)
    received: int = 0  # bytes in all, also those that came twice
    ended: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass
class TusServer:
    """Keeps what it is sent in memory. `cut`: after so many bytes of an upload the connection breaks, once.

    `held`: pieces wait until it is set.
    """

    stub: Stub
    uploads: list[Upload] = field(default_factory=list)
    cut: int | None = None
    refusal: bytes | None = None
    held: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.held.set()
        self.stub.answers[PATH] = self.create

    async def create(self, seen: Seen, receive: Receive, send: Send) -> None:
        await receive()
        assert dict(seen.headers)["tus-resumable"] == "1.0.0"
        if self.refusal is not None:
            await answer_json(send, 413, self.refusal)
            return
        headers = dict(seen.headers)
        self.uploads.append(Upload(int(headers["upload-length"]), headers["upload-metadata"]))
        path = f"{PATH}/{len(self.uploads)}"
        self.stub.answers[path] = self.serve
        # Another host name than the page's, as behind a front server that is known by several.
        await _answer(send, 201, ("location", f"http://elsewhere.example{path}"))

    async def serve(self, seen: Seen, receive: Receive, send: Send) -> None:
        upload = self.uploads[int(seen.path.rpartition("/")[2]) - 1]
        if upload.ended:
            await _answer(send, 404)
        elif seen.method == "DELETE":
            upload.ended = True
            await _answer(send, 204)
        elif seen.method == "HEAD":
            told = ("upload-offset", str(len(upload.content))), ("upload-length", str(upload.length))
            await _answer(send, 200, *told)
        else:
            await self._append(upload, seen, receive, send)

    async def _append(self, upload: Upload, seen: Seen, receive: Receive, send: Send) -> None:
        if int(dict(seen.headers)["upload-offset"]) != len(upload.content):
            await _answer(send, 409)
            return
        await self.held.wait()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body = message.get("body", b"")
            upload.content += body
            upload.received += len(body)
            if self.cut is not None and len(upload.content) >= self.cut:
                self.cut = None
                raise ConnectionResetError("the line is cut")
            if not message.get("more_body", False):
                break
        done = [("x-file-id", "7")] if len(upload.content) == upload.length else []
        await _answer(send, 204, ("upload-offset", str(len(upload.content))), *done)


async def _answer(send: Send, status: int, *headers: tuple[str, str]) -> None:
    own = [(name.encode(), value.encode()) for name, value in (("tus-resumable", "1.0.0"), *headers)]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": b""})
