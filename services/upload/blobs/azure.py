"""Blobs in a container of Azure's Blob Storage: Azure's SDK signs, aiohttp carries.

Blocks are staged at the blob's own path, where nobody sees them until they are committed. A note beside says so: Azure
lists uncommitted blobs only among all others.
"""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlencode
from uuid import UUID
from xml.etree.ElementTree import Element, SubElement, tostring

from services.upload.blobs import parts as rules
from services.upload.blobs.parts import READY, STAGING, Part, Parted, staged
from services.upload.blobs.sender import WritesParts
from services.upload.blobs.spool import Spool
from services.upload.blobs.store import Found, Leftover, Occupied, StoreUnavailable, upload_of
from services.upload.blobs.wire import Answer, Body, Memory, Request, Wire, parse_xml

VERSION = "2023-11-03"  # of the protocol
SIGNED_FOR = timedelta(hours=12)
NOTE = ".open"  # the end of the name of the note that says where blocks were staged


class AzureStore(WritesParts):
    """`endpoint` ends before the container. `sas`: a token to use instead of signing with the account's key."""

    def __init__(
        self, endpoint: str, account: str, key: str, container: str, spool: Spool, seconds: float, sas: str = ""
    ) -> None:
        self.spool = spool
        self._container = f"{endpoint.rstrip('/')}/{container}"
        self._account = account
        self._key = key
        self._given = sas.lstrip("?")
        self._token, self._expires = "", datetime.min.replace(tzinfo=UTC)
        self._wire = Wire("azure", self._sign, seconds)

    async def read(self, path: str, start: int, length: int) -> AsyncIterator[bytes]:
        if length == 0 and await self.stat(path) is None:
            raise FileNotFoundError(path)
        async for chunk in self._wire.read(Request("GET", self._url(path)), start, length):
            yield chunk

    async def stat(self, path: str) -> Found | None:
        answer = await self._ask("HEAD", path)
        if answer.status == 404:
            return None
        headers = answer.expect(200).headers
        modified = parsedate_to_datetime(headers["Last-Modified"]).timestamp()
        return Found(path, int(headers["Content-Length"]), modified)

    async def copy(self, source: str, target: str) -> None:
        answer = await self._ask(
            "PUT", target, headers={"x-ms-copy-source": self._url(source)}, body=Memory(b""), thinks=True
        )
        status = answer.expect(201, 202).headers.get("x-ms-copy-status", "success")
        while status == "pending":  # for a large blob Azure goes on by itself
            await asyncio.sleep(0.2)
            status = (await self._ask("HEAD", target)).expect(200).headers.get("x-ms-copy-status", "failed")
        if status != "success":
            raise StoreUnavailable

    async def delete(self, path: str) -> None:
        answer = await self._ask("DELETE", path)
        if answer.status != 404:
            answer.expect(202)

    async def walk(self, prefix: str) -> AsyncIterator[Found]:
        marker = ""
        while True:
            query = {
                "restype": "container",
                "comp": "list",
                "prefix": prefix,
                "maxresults": str(rules.LISTED),
                "marker": marker,
            }
            page = parse_xml(await self._ask("GET", query=query))
            for entry in page.iter("Blob"):
                properties = entry.find("Properties")
                assert properties is not None  # noqa: S101 - part of the protocol
                modified = parsedate_to_datetime(properties.findtext("Last-Modified", "")).timestamp()
                name = entry.findtext("Name", "")
                yield Found(name, int(properties.findtext("Content-Length", "0")), modified)
            marker = page.findtext("NextMarker") or ""
            if not marker:
                return

    async def leftovers(self, older_than: float) -> AsyncIterator[Leftover]:
        async for found in self.walk(STAGING):
            upload = upload_of(found.path)
            if upload is not None and found.modified < older_than:
                yield Leftover(upload, found.path, found.size)

    async def drop(self, leftover: Leftover) -> None:
        if leftover.handle.endswith(NOTE):
            await self._drop_noted(leftover.handle)
        else:
            await self.delete(leftover.handle)

    async def open(self) -> None:
        """Makes the container where it is missing."""
        answer = await self._ask("PUT", query={"restype": "container"}, body=Memory(b""), once=True)
        # A token for one container may not make it, and need not.
        answer.expect(201, 409, *((403,) if self._given else ()))

    async def check(self) -> None:
        if self._wire.wrote_lately:
            return
        headers = {"x-ms-blob-type": "BlockBlob"}
        (await self._ask("PUT", READY, headers=headers, body=Memory(b""), once=True)).expect(201)

    async def close(self) -> None:
        await self._wire.close()
        self.spool.close()

    # what the writer needs

    async def put(self, path: str, body: Body, upload: UUID) -> None:
        headers = {"x-ms-blob-type": "BlockBlob", "If-None-Match": "*", "x-ms-meta-upload": str(upload)}
        await self._must_be(path, upload, await self._ask("PUT", path, headers=headers, body=body))

    async def put_tail(self, key: str, body: Body) -> None:
        (await self._ask("PUT", key, headers={"x-ms-blob-type": "BlockBlob"}, body=body)).expect(201)

    async def begin(self, upload: UUID, path: str | None) -> Parted:
        key = path or staged(upload)
        await self.put_tail(staged(upload) + NOTE, Memory(key.encode()))
        return Parted(key, "")

    async def put_part(self, upload: UUID, parted: Parted, number: int, body: Body) -> str:  # noqa: ARG002
        # Another name each time: what a process sends that does not know it is dead changes nothing.
        block = base64.b64encode(f"{number:06d}{secrets.token_hex(6)}".encode()).decode()
        (await self._ask("PUT", parted.key, query={"comp": "block", "blockid": block}, body=body)).expect(201)
        return block

    async def join(self, upload: UUID, parted: Parted, parts: Sequence[Part], path: str) -> None:
        root = Element("BlockList")
        for part in parts:
            SubElement(root, "Latest").text = part.tag
        headers = {"If-None-Match": "*", "x-ms-meta-upload": str(upload)}
        body = Memory(tostring(root, encoding="utf-8", xml_declaration=True))
        answer = await self._ask(
            "PUT", parted.key, query={"comp": "blocklist"}, headers=headers, body=body, thinks=True
        )
        await self._must_be(parted.key, upload, answer)
        if parted.key != path:
            await self.copy(parted.key, path)
            await self.delete(parted.key)
        await self.delete(staged(upload) + NOTE)

    async def discard(self, upload: UUID, path: str | None, parted: Parted | None) -> None:  # noqa: ARG002
        if parted is not None:
            await self._drop_blocks(parted.key)
        await self.delete_all([found.path async for found in self.walk(staged(upload))])

    # the rest

    async def _must_be(self, path: str, upload: UUID, answer: Answer) -> None:
        """What is there already may be ours: the first answer was lost. Raises Occupied."""
        if answer.status not in {409, 412}:
            answer.expect(201)
            return
        found = await self._ask("HEAD", path)
        if found.status == 404:
            raise StoreUnavailable
        if found.expect(200).headers.get("x-ms-meta-upload") != str(upload):
            raise Occupied

    async def _drop_noted(self, note: str) -> None:
        found = await self._ask("GET", note)
        if found.status != 404:
            await self._drop_blocks(found.expect(200).body.decode())
            await self.delete(note)

    async def _drop_blocks(self, key: str) -> None:
        """Blocks go when an empty blob takes their place; one that is there already has none."""
        headers = {"x-ms-blob-type": "BlockBlob", "If-None-Match": "*"}
        answer = await self._ask("PUT", key, headers=headers, body=Memory(b""))
        if answer.status not in {409, 412} or key.startswith(STAGING):
            await self.delete(key)

    async def _ask(
        self,
        method: str,
        path: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        once: bool = False,
        thinks: bool = False,
    ) -> Answer:
        return await self._wire.ask(Request(method, self._url(path, query), headers or {}, body, thinks), once=once)

    def _url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        url = f"{self._container}/{quote(path)}" if path else self._container
        return url if query is None else f"{url}?{urlencode(query, quote_via=quote, safe='')}"

    async def _sign(self, request: Request) -> tuple[str, dict[str, str]]:
        token, headers = self._sas(), {**request.headers, "x-ms-version": VERSION}
        if source := headers.get("x-ms-copy-source"):
            headers["x-ms-copy-source"] = f"{source}?{token}"
        return f"{request.url}{'&' if '?' in request.url else '?'}{token}", headers

    def _sas(self) -> str:
        """One for everything we do; made new long before it runs out."""
        now = datetime.now(UTC)
        if self._given:
            return self._given
        if now + SIGNED_FOR / 2 > self._expires:
            from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

            self._expires = now + SIGNED_FOR
            allowed = AccountSasPermissions(read=True, write=True, delete=True, list=True, add=True, create=True)
            kinds = ResourceTypes(container=True, object=True)
            self._token = generate_account_sas(self._account, self._key, kinds, allowed, self._expires)
        return self._token
