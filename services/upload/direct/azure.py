"""Direct uploads to Azure: a signature good for one staged blob, whose blocks are put together by us.

A signature cannot say how many bytes it is good for: what came is measured before anything is made of it.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode
from xml.etree.ElementTree import Element, SubElement, tostring

from services.upload.blobs.wire import Answer, Body, Memory, Request, Wire, parse_xml
from services.upload.direct import rules
from services.upload.direct.errors import PartsChanged
from services.upload.direct.models import DirectUpload
from services.upload.direct.offers import Offer, Wanted, staging
from services.upload.direct.rules import Part

OWN = timedelta(minutes=15)  # life of a signature that only we use
VERSION = "2023-11-03"  # of the protocol
_PREFIX = "part-"


class AzureOffers:
    """`endpoint` is where we reach the store, `public` where clients do; the container follows."""

    def __init__(self, endpoint: str, public: str, account: str, key: str, container: str, seconds: float) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._public = public.rstrip("/")
        self._account = account
        self._key = key
        self._container = container
        self._wire = Wire("azure", _as_signed, seconds)

    async def begin(self, wanted: Wanted) -> Offer:
        staged = staging(wanted.upload)
        if wanted.in_parts or wanted.size is None:
            return Offer("parts", "PUT", staged, part_size=rules.part_size(wanted.size))
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": wanted.content_type}
        return Offer("put", "PUT", staged, url=self._signed(self._public, staged, "cw", wanted.until), headers=headers)

    def part_url(self, upload: DirectUpload, number: int, until: datetime) -> str:
        query = urlencode({"comp": "block", "blockid": _block(number)})
        return f"{self._signed(self._public, upload.staged, 'cw', until)}&{query}"

    async def arrived(self, upload: DirectUpload) -> list[Part] | None:
        if not upload.in_parts:
            return None
        answer = await self._ask("GET", upload.staged, {"comp": "blocklist", "blocklisttype": "all"})
        if answer.status == 404:
            return []
        page = parse_xml(answer)
        parts = [part for entry in page.iterfind("UncommittedBlocks/Block") if (part := _part(entry)) is not None]
        # Without uncommitted ones it was put together already; or the client did it itself, and has what it wrote.
        return sorted(parts, key=lambda part: part.number) or None

    async def assemble(self, upload: DirectUpload, parts: Sequence[Part]) -> None:
        root = Element("BlockList")
        for part in parts:
            SubElement(root, "Uncommitted").text = part.etag
        body = Memory(tostring(root, encoding="utf-8", xml_declaration=True))
        answer = await self._ask("PUT", upload.staged, {"comp": "blocklist"}, body=body)
        if answer.status == 400:
            raise PartsChanged
        answer.expect(201)

    async def abort(self, upload: DirectUpload) -> None:
        """Uncommitted blocks go when an empty blob takes their place, which whoever aborts deletes."""
        if upload.in_parts:
            answer = await self._ask(
                "PUT", upload.staged, {}, headers={"x-ms-blob-type": "BlockBlob"}, body=Memory(b"")
            )
            answer.expect(201)

    async def close(self) -> None:
        await self._wire.close()

    def _signed(self, endpoint: str, staged: str, allowed: str, until: datetime) -> str:
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        permission = BlobSasPermissions.from_string(allowed)
        token = generate_blob_sas(
            self._account, self._container, staged, account_key=self._key, permission=permission, expiry=until
        )
        return f"{endpoint}/{self._container}/{quote(staged)}?{token}"

    async def _ask(
        self,
        method: str,
        staged: str,
        query: Mapping[str, str],
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Answer:
        url = self._signed(self._endpoint, staged, "rcwd", datetime.now(UTC) + OWN)
        url = f"{url}&{urlencode(query)}" if query else url
        return await self._wire.ask(Request(method, url, {"x-ms-version": VERSION, **(headers or {})}, body))


async def _as_signed(request: Request) -> tuple[str, dict[str, str]]:
    return request.url, dict(request.headers)


def _block(number: int) -> str:
    """All of a blob's ids have the same length."""
    return base64.b64encode(f"{_PREFIX}{number:06d}".encode()).decode()


def _part(entry: Element) -> Part | None:
    """None for a block that is none of ours: it is no part of the file."""
    name = entry.findtext("Name", "")
    try:
        text = base64.b64decode(name, validate=True).decode()
        number = int(text.removeprefix(_PREFIX))
    except ValueError:
        return None
    return Part(number, int(entry.findtext("Size", "0")), name) if name == _block(number) else None
