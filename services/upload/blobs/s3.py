"""Blobs in a bucket of an S3 server: minio's SDK signs, aiohttp carries."""

import asyncio
import hashlib
import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID
from xml.etree.ElementTree import Element, SubElement, tostring

from minio.credentials.credentials import Credentials
from minio.signer import sign_v4_s3

from services.upload.blobs import parts as rules
from services.upload.blobs.parts import MIB, PARTS, READY, STAGING, Part, Parted, staged
from services.upload.blobs.sender import WritesParts
from services.upload.blobs.spool import Spool
from services.upload.blobs.store import Found, Leftover, Occupied, StoreFull, StoreUnavailable, upload_of
from services.upload.blobs.wire import Answer, Body, Memory, Request, Wire, parse_xml

log = logging.getLogger(__name__)

COPIED_AT_ONCE = 256 * MIB  # bytes the store copies in one request; S3 would take 5 GiB, and be silent for minutes
REMOVED_AT_ONCE = 1000  # objects one request may name
COPYING = 4  # such requests under way
UNSIGNED = "UNSIGNED-PAYLOAD"


class S3Store(WritesParts):
    """`staging/…` while an upload runs, the path itself afterwards. `endpoint` without a path: the bucket follows."""

    def __init__(
        self, endpoint: str, region: str, bucket: str, access_key: str, secret_key: str, spool: Spool, seconds: float
    ) -> None:
        self.spool = spool
        self._bucket = f"{endpoint.rstrip('/')}/{bucket}"
        self._region = region
        self._credentials = Credentials(access_key, secret_key)
        self._wire = Wire("s3", self._sign, seconds)

    async def read(self, path: str, start: int, length: int) -> AsyncIterator[bytes]:
        if length == 0 and await self.stat(path) is None:
            raise FileNotFoundError(path)
        async for chunk in self._wire.read(Request("GET", self._url(path)), start, length):
            yield chunk

    async def stat(self, path: str) -> Found | None:
        answer = await self._ask("HEAD", path)
        if answer.status == 404:
            return None
        answer.expect(200)
        modified = datetime.strptime(answer.headers["Last-Modified"], "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC)
        return Found(path, int(answer.headers["Content-Length"]), modified.timestamp())

    async def copy(self, source: str, target: str) -> None:
        found = await self.stat(source)
        if found is None:
            raise FileNotFoundError(source)
        if found.size > COPIED_AT_ONCE:
            await self._copy_parts(source, target, found.size)
            return
        answer = await self._ask("PUT", target, headers={"x-amz-copy-source": self._source(source)}, thinks=True)
        _whole(answer)

    async def delete(self, path: str) -> None:
        answer = await self._ask("DELETE", path)
        if answer.status != 404:
            answer.expect(200, 204)

    async def delete_all(self, paths: Sequence[str]) -> None:
        # XML cannot say every name that an adopted object may have.
        said = [path for path in paths if path.isprintable()]
        for start in range(0, len(said), REMOVED_AT_ONCE):
            await self._delete_some(said[start : start + REMOVED_AT_ONCE])
        await super().delete_all([path for path in paths if not path.isprintable()])

    async def walk(self, prefix: str) -> AsyncIterator[Found]:
        token = None
        while True:
            query = {"list-type": "2", "prefix": prefix, "max-keys": str(rules.LISTED)}
            page = parse_xml(
                await self._ask("GET", query=query | ({} if token is None else {"continuation-token": token}))
            )
            for entry in page.iter("Contents"):
                modified = datetime.fromisoformat(_text(entry, "LastModified")).timestamp()
                yield Found(_text(entry, "Key"), int(_text(entry, "Size")), modified)
            token = page.findtext("NextContinuationToken")
            if not token:
                return

    async def leftovers(self, older_than: float) -> AsyncIterator[Leftover]:
        async for key, handle, begun in self._open_uploads(""):
            upload = upload_of(key)
            if upload is not None and begun < older_than:
                yield Leftover(upload, json.dumps([key, handle]), 0)
        async for found in self.walk(STAGING):
            upload = upload_of(found.path)
            if upload is not None and found.modified < older_than:
                yield Leftover(upload, json.dumps([found.path, None]), found.size)

    async def drop(self, leftover: Leftover) -> None:
        key, handle = json.loads(leftover.handle)
        if handle is None:
            await self.delete(key)
        else:
            await self._abort(key, handle)

    async def open(self) -> None:
        """Makes the bucket where it is missing."""
        if (await self._ask("HEAD", once=True)).status == 404:
            body = b""
            if self._region != "us-east-1":  # S3 wants it said everywhere but there
                root = Element("CreateBucketConfiguration", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
                SubElement(root, "LocationConstraint").text = self._region
                body = tostring(root)
            answer = await self._ask("PUT", body=Memory(body), once=True)
            answer.expect(200, 409)  # 409: somebody else has just made it

    async def check(self) -> None:
        if self._wire.wrote_lately:
            return
        answer = await self._ask("PUT", READY, body=Memory(b""), once=True)
        answer.expect(200)

    async def close(self) -> None:
        await self._wire.close()
        self.spool.close()

    # what the writer needs

    async def put(self, path: str, body: Body, upload: UUID) -> None:
        headers = {"If-None-Match": "*", "x-amz-meta-upload": str(upload)}
        answer = await self._ask("PUT", path, headers=headers, body=body)
        if answer.status in {409, 412}:
            await self._must_be(path, upload, answer)
        else:
            answer.expect(200)

    async def put_tail(self, key: str, body: Body) -> None:
        (await self._ask("PUT", key, body=body)).expect(200)

    async def begin(self, upload: UUID, path: str | None) -> Parted:
        key = path or staged(upload)
        headers = {"x-amz-meta-upload": str(upload)}
        root = parse_xml(await self._ask("POST", key, query={"uploads": ""}, headers=headers))
        return Parted(key, _text(root, "UploadId"))

    async def put_part(self, upload: UUID, parted: Parted, number: int, body: Body) -> str:  # noqa: ARG002
        query = {"partNumber": str(number), "uploadId": parted.handle}
        answer = (await self._ask("PUT", parted.key, query=query, body=body)).expect(200)
        return answer.headers["ETag"].strip('"')

    async def join(self, upload: UUID, parted: Parted, parts: Sequence[Part], path: str) -> None:
        await self._complete(upload, parted, [part.tag for part in parts])
        if parted.key != path:
            await self.copy(parted.key, path)
            await self.delete(parted.key)

    async def discard(self, upload: UUID, path: str | None, parted: Parted | None) -> None:
        if parted is not None:
            await self._abort(parted.key, parted.handle)
        # Processes that died may have begun others, or have left tails.
        async for key, handle, _ in self._open_uploads(path or staged(upload)):
            await self._abort(key, handle)
        async for found in self.walk(staged(upload)):
            await self.delete(found.path)

    # the rest

    async def _complete(self, upload: UUID, parted: Parted, tags: Sequence[str]) -> None:
        root = Element("CompleteMultipartUpload")
        for number, tag in enumerate(tags, 1):
            part = SubElement(root, "Part")
            SubElement(part, "PartNumber").text = str(number)
            SubElement(part, "ETag").text = f'"{tag}"'
        answer = await self._ask(
            "POST",
            parted.key,
            query={"uploadId": parted.handle},
            headers={"If-None-Match": "*", "Content-Type": "application/xml"},
            body=Memory(tostring(root)),
            thinks=True,
        )
        if answer.status in {404, 409, 412}:
            # Done already, and the answer was lost; or the path is somebody else's.
            await self._must_be(parted.key, upload, answer)
            await self._abort(parted.key, parted.handle)
        else:
            _whole(answer)

    async def _delete_some(self, paths: Sequence[str]) -> None:
        root = Element("Delete")
        SubElement(root, "Quiet").text = "true"
        for path in paths:
            SubElement(SubElement(root, "Object"), "Key").text = path
        body = tostring(root, encoding="utf-8")
        md5 = b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()  # S3 wants one of its checksums
        answer = await self._ask("POST", query={"delete": ""}, headers={"Content-MD5": md5}, body=Memory(body))
        for error in _whole(answer).iter("Error"):
            code = error.findtext("Code", "")
            if code not in {"NoSuchKey", "NotFound"}:
                log.error("the object store does not delete %s: %s", error.findtext("Key"), code)
                raise StoreFull if code == "AccessDenied" else StoreUnavailable

    async def _must_be(self, path: str, upload: UUID, refusal: Answer) -> None:
        """A refusal is none when the blob is there and ours."""
        answer = await self._ask("HEAD", path)
        if answer.status == 404:
            refusal.expect(200)
        if answer.expect(200).headers.get("x-amz-meta-upload") != str(upload):
            raise Occupied

    async def _abort(self, key: str, handle: str) -> None:
        answer = await self._ask("DELETE", key, query={"uploadId": handle})
        if answer.status != 404:
            answer.expect(204)

    async def _open_uploads(self, prefix: str) -> AsyncIterator[tuple[str, str, float]]:
        """Key, handle and the second of the beginning of what was begun and not completed."""
        marker: dict[str, str] = {}
        while True:
            page = parse_xml(await self._ask("GET", query={"uploads": "", "prefix": prefix, **marker}))
            for entry in page.iter("Upload"):
                begun = datetime.fromisoformat(_text(entry, "Initiated")).timestamp()
                yield _text(entry, "Key"), _text(entry, "UploadId"), begun
            if page.findtext("IsTruncated") != "true":
                return
            marker = {"key-marker": _text(page, "NextKeyMarker"), "upload-id-marker": _text(page, "NextUploadIdMarker")}

    async def _copy_parts(self, source: str, target: str, size: int) -> None:
        upload, whole = upload_of(target) or UUID(int=0), max(COPIED_AT_ONCE, -(-size // PARTS))
        parted, slots = await self.begin(upload, target), asyncio.Semaphore(COPYING)

        async def copy(number: int) -> str:
            start = (number - 1) * whole
            span = f"bytes={start}-{min(start + whole, size) - 1}"
            headers = {"x-amz-copy-source": self._source(source), "x-amz-copy-source-range": span}
            query = {"partNumber": str(number), "uploadId": parted.handle}
            async with slots:
                answer = await self._ask("PUT", target, query=query, headers=headers, thinks=True)
            return _text(_whole(answer), "ETag").strip('"')

        copied = False
        try:
            tags = await asyncio.gather(*map(copy, range(1, -(-size // whole) + 1)))
            await self._complete(upload, parted, tags)
            copied = True
        finally:
            if not copied:
                await self._abort(parted.key, parted.handle)

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
        url = f"{self._bucket}/{quote(path)}" if path else self._bucket
        return url if query is None else f"{url}?{urlencode(query, quote_via=quote, safe='')}"

    def _source(self, path: str) -> str:
        return f"/{self._bucket.rsplit('/', 1)[-1]}/{quote(path)}"

    async def _sign(self, request: Request) -> tuple[str, dict[str, str]]:
        now, url = datetime.now(UTC), urlsplit(request.url)
        headers = {
            **request.headers,
            "Host": url.netloc,
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            "x-amz-content-sha256": UNSIGNED,
        }
        signed = sign_v4_s3(
            method=request.method,
            url=url,
            region=self._region,
            headers=dict(headers),
            credentials=self._credentials,
            content_sha256=UNSIGNED,
            date=now,
        )
        return request.url, {**headers, "Authorization": str(signed["Authorization"])}


def _whole(answer: Answer) -> Element:
    """S3 may say 200 first and the error in the body, when it had to think for long."""
    root = parse_xml(answer)
    if root.tag == "Error":
        raise StoreUnavailable
    return root


def _text(element: Element, name: str) -> str:
    found = element.findtext(name)
    if found is None:
        raise StoreUnavailable
    return found
