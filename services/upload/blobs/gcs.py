"""Blobs in a bucket of Google Cloud Storage, over its JSON API: Google's library signs in, aiohttp carries.

The parts of an upload are objects of their own, composed at the end: they can be sent side by side, sent again, and
taken up by another process, without the 256 KiB steps of a resumable session.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from services.upload.blobs.parts import READY, STAGING, Part, Parted, staged
from services.upload.blobs.sender import WritesParts
from services.upload.blobs.spool import Spool
from services.upload.blobs.store import Found, Leftover, Occupied, StoreUnavailable, upload_of
from services.upload.blobs.wire import Answer, Body, Memory, Request, Wire

COMPOSED = 32  # objects Google makes one of in a request
SCOPE = "https://www.googleapis.com/auth/devstorage.full_control"


class GoogleToken:
    """Who we are: a service account's key, or what the machine offers."""

    def __init__(self, key_file: Path | None) -> None:
        self._key_file = key_file
        self._credentials: Any = None
        self._lock = asyncio.Lock()

    async def headers(self) -> dict[str, str]:
        async with self._lock:
            if self._credentials is None or not self._credentials.valid:
                await asyncio.to_thread(self._refresh)
        return {"Authorization": f"Bearer {self._credentials.token}"}

    def _refresh(self) -> None:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request as Transport
        from google.oauth2.service_account import Credentials

        try:
            if self._credentials is None and self._key_file is not None:
                read: Any = Credentials.from_service_account_file  # it has no annotations
                self._credentials = read(str(self._key_file), scopes=[SCOPE])
            elif self._credentials is None:
                self._credentials, _ = google.auth.default(scopes=[SCOPE])
            self._credentials.refresh(Transport())
        except GoogleAuthError as error:
            raise OSError(f"Google does not say who we are: {error}") from error  # asked again, like any trouble


class Related:
    """What an object is and its bytes, in one body."""

    def __init__(self, about: Mapping[str, Any], body: Body) -> None:
        mark = f"part-{secrets.token_hex(12)}"
        self.kind = f"multipart/related; boundary={mark}"
        said = json.dumps(about)
        self._before = (
            f"--{mark}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{said}\r\n"
            f"--{mark}\r\nContent-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self._after = f"\r\n--{mark}--\r\n".encode()
        self._body = body
        self.size = len(self._before) + body.size + len(self._after)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._before
        async for chunk in self._body.chunks():
            yield chunk
        yield self._after


class GcsStore(WritesParts):
    """`token` None: nobody asks who we are, as with an emulator."""

    def __init__(
        self, endpoint: str, bucket: str, project: str, token: GoogleToken | None, spool: Spool, seconds: float
    ) -> None:
        self.spool = spool
        self._endpoint = endpoint.rstrip("/")
        self._bucket = bucket
        self._project = project
        self._token = token
        self._wire = Wire("gcs", self._sign, seconds)

    async def read(self, path: str, start: int, length: int) -> AsyncIterator[bytes]:
        if length == 0 and await self.stat(path) is None:
            raise FileNotFoundError(path)
        url = self._url(f"/o/{quote(path, safe='')}", {"alt": "media"})
        async for chunk in self._wire.read(Request("GET", url), start, length):
            yield chunk

    async def stat(self, path: str) -> Found | None:
        found = await self._about(path)
        return None if found is None else _found(found)

    async def copy(self, source: str, target: str) -> None:
        where = f"/o/{quote(source, safe='')}/rewriteTo/b/{quote(self._bucket)}/o/{quote(target, safe='')}"
        query: dict[str, str] = {}
        while True:
            said = _json(await self._ask("POST", where, query, body=Memory(b"")))
            if said.get("done", True):
                return
            query = {"rewriteToken": said["rewriteToken"]}  # a large one takes several requests

    async def delete(self, path: str) -> None:
        answer = await self._ask("DELETE", f"/o/{quote(path, safe='')}")
        if answer.status != 404:
            answer.expect(200, 204)

    async def walk(self, prefix: str) -> AsyncIterator[Found]:
        query = {"prefix": prefix, "fields": "items(name,size,updated),nextPageToken"}
        while True:
            page = _json(await self._ask("GET", "/o", query))
            for entry in page.get("items", ()):
                yield _found(entry)
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    async def leftovers(self, older_than: float) -> AsyncIterator[Leftover]:
        async for found in self.walk(STAGING):
            upload = upload_of(found.path)
            if upload is not None and found.modified < older_than:
                yield Leftover(upload, found.path, found.size)

    async def drop(self, leftover: Leftover) -> None:
        await self.delete(leftover.handle)

    async def open(self) -> None:
        """Makes the bucket where it is missing."""
        if (await self._wire.ask(Request("GET", self._url("")), once=True)).status == 404:
            url = f"{self._endpoint}/storage/v1/b?{urlencode({'project': self._project})}"
            body = Memory(json.dumps({"name": self._bucket}).encode())
            headers = {"Content-Type": "application/json"}
            (await self._wire.ask(Request("POST", url, headers, body), once=True)).expect(200, 409)

    async def check(self) -> None:
        if self._wire.wrote_lately:
            return
        (await self._insert(READY, Memory(b""), once=True)).expect(200)

    async def close(self) -> None:
        await self._wire.close()
        self.spool.close()

    # what the writer needs

    async def put(self, path: str, body: Body, upload: UUID) -> None:
        answer = await self._insert(path, body, {"metadata": {"upload": str(upload)}}, {"ifGenerationMatch": "0"})
        await self._must_be(path, upload, answer)

    async def put_tail(self, key: str, body: Body) -> None:
        (await self._insert(key, body)).expect(200)

    async def begin(self, upload: UUID, path: str | None) -> Parted:
        """Nothing to do: parts belong to no path before they are composed."""
        return Parted(path or staged(upload), "")

    async def put_part(self, upload: UUID, parted: Parted, number: int, body: Body) -> str:  # noqa: ARG002
        # Another name each time: what a process sends that does not know it is dead changes nothing.
        tag = f"{staged(upload)}.part.{number:05d}.{secrets.token_hex(6)}"
        (await self._insert(tag, body)).expect(200)
        return tag

    async def join(self, upload: UUID, parted: Parted, parts: Sequence[Part], path: str) -> None:  # noqa: ARG002
        names, level = [part.tag for part in parts], 0
        while len(names) > COMPOSED:
            level += 1
            groups = [names[start : start + COMPOSED] for start in range(0, len(names), COMPOSED)]
            names = [f"{staged(upload)}.joined.{level}.{number}" for number in range(len(groups))]
            for name, group in zip(names, groups, strict=True):
                (await self._compose(name, group, {})).expect(200)
        about = {"metadata": {"upload": str(upload)}}
        await self._must_be(path, upload, await self._compose(path, names, about, {"ifGenerationMatch": "0"}))
        await self.discard(upload, None, None)

    async def discard(self, upload: UUID, path: str | None, parted: Parted | None) -> None:  # noqa: ARG002
        await self.delete_all([entry.path async for entry in self.walk(staged(upload))])

    # the rest

    async def _must_be(self, path: str, upload: UUID, answer: Answer) -> None:
        """What is there already may be ours: the first answer was lost. Raises Occupied, StoreUnavailable."""
        if answer.status not in {404, 412}:  # 404: the parts are gone, because they were joined
            answer.expect(200)
            return
        found = await self._about(path)
        if found is None:
            raise StoreUnavailable
        if found.get("metadata", {}).get("upload") != str(upload):
            raise Occupied

    async def _about(self, path: str) -> dict[str, Any] | None:
        answer = await self._ask("GET", f"/o/{quote(path, safe='')}")
        return None if answer.status == 404 else _json(answer)

    async def _insert(
        self,
        path: str,
        body: Body,
        about: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        *,
        once: bool = False,
    ) -> Answer:
        whole = Related({"name": path, **(about or {})}, body)
        query = {"uploadType": "multipart", "name": path, **(query or {})}
        url = f"{self._endpoint}/upload/storage/v1/b/{quote(self._bucket)}/o?{urlencode(query, quote_via=quote)}"
        return await self._wire.ask(Request("POST", url, {"Content-Type": whole.kind}, whole), once=once)

    async def _compose(
        self, path: str, names: Sequence[str], about: Mapping[str, Any], query: Mapping[str, str] | None = None
    ) -> Answer:
        said = {
            "sourceObjects": [{"name": name} for name in names],
            "destination": {"contentType": "application/octet-stream", **about},
        }
        return await self._ask(
            "POST", f"/o/{quote(path, safe='')}/compose", query, body=Memory(json.dumps(said).encode())
        )

    async def _ask(
        self, method: str, where: str = "", query: Mapping[str, str] | None = None, *, body: Body | None = None
    ) -> Answer:
        headers = {} if body is None else {"Content-Type": "application/json"}
        return await self._wire.ask(Request(method, self._url(where, query), headers, body, thinks=method == "POST"))

    def _url(self, where: str, query: Mapping[str, str] | None = None) -> str:
        url = f"{self._endpoint}/storage/v1/b/{quote(self._bucket)}{where}"
        return f"{url}?{urlencode(query, quote_via=quote)}" if query else url

    async def _sign(self, request: Request) -> tuple[str, dict[str, str]]:
        who = {} if self._token is None else await self._token.headers()
        return request.url, {**request.headers, **who}


def _found(entry: Mapping[str, Any]) -> Found:
    return Found(entry["name"], int(entry.get("size", 0)), datetime.fromisoformat(entry["updated"]).timestamp())


def _json(answer: Answer) -> dict[str, Any]:
    """Raises FileNotFoundError, StoreUnavailable."""
    answer.expect(200)
    try:
        said: dict[str, Any] = json.loads(answer.body)
    except ValueError:
        raise StoreUnavailable from None
    return said
