"""Direct uploads to an S3 store: a form with an exact limit, or presigned parts. minio's SDK signs, aiohttp carries.

Parts go to the file's own path: their URLs name the multipart upload and are dead once it is put together. A form's
policy is good until it expires, so what comes by one is staged and copied; so is what is not kept as it comes.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, SubElement, tostring

from minio import Minio
from minio.datatypes import PostPolicy

from services.upload.blobs.store import StoreUnavailable
from services.upload.blobs.wire import Answer, Body, Memory, Request, Wire, parse_xml
from services.upload.direct import rules
from services.upload.direct.errors import PartsChanged, PartTooSmall
from services.upload.direct.models import DirectUpload
from services.upload.direct.offers import Offer, Wanted, staging
from services.upload.direct.rules import Part

Query = dict[str, str | list[str] | tuple[str]]  # as minio's SDK has it

OWN = timedelta(minutes=15)  # life of a URL that only we use
LONGEST = timedelta(days=7)  # S3 signs nothing for longer
ASSEMBLING = 900.0  # seconds: a store that copies parts to put them together says nothing before it is done


class S3Offers:
    """`endpoint` is where we reach the store, `public` where clients do; both with scheme, the bucket follows."""

    def __init__(
        self, endpoint: str, public: str, region: str, bucket: str, access_key: str, secret_key: str, seconds: float
    ) -> None:
        self._bucket = bucket
        self._own = _signer(endpoint, region, access_key, secret_key)
        self._public = _signer(public, region, access_key, secret_key)
        self._form_url = f"{public.rstrip('/')}/{bucket}"
        self._wire = Wire("s3", _as_signed, seconds)
        self._patient = Wire("s3", _as_signed, max(seconds, ASSEMBLING))

    async def begin(self, wanted: Wanted) -> Offer:
        if wanted.in_parts or wanted.size is None:
            headers = {"Content-Type": wanted.content_type}
            key = staging(wanted.upload) if wanted.rewritten else wanted.path
            answer = parse_xml(await self._ask("POST", key, {"uploads": ""}, headers=headers))
            backend = {"multipart": _text(answer, "UploadId")}
            return Offer("parts", "PUT", key, part_size=rules.part_size(wanted.size), backend=backend)
        return self._form(wanted, wanted.size)

    def part_url(self, upload: DirectUpload, number: int, until: datetime) -> str:
        life = min(max(until - datetime.now(UTC), timedelta(seconds=1)), LONGEST)
        query: Query = {"partNumber": str(number), **_named(upload)}
        return self._public.get_presigned_url("PUT", self._bucket, upload.staged, life, extra_query_params=query)

    async def arrived(self, upload: DirectUpload) -> list[Part] | None:
        if not upload.in_parts:
            return None
        found: list[Part] = []
        while True:
            marker = {"part-number-marker": str(found[-1].number)} if found else {}
            answer = await self._ask("GET", upload.staged, {**_named(upload), **marker})
            if answer.status == 404:
                return None
            page = parse_xml(answer)
            found += [_part(entry) for entry in page.iter("Part")]
            if page.findtext("IsTruncated") != "true":
                return found

    async def assemble(self, upload: DirectUpload, parts: Sequence[Part]) -> None:
        root = Element("CompleteMultipartUpload")
        for part in parts:
            entry = SubElement(root, "Part")
            SubElement(entry, "PartNumber").text = str(part.number)
            SubElement(entry, "ETag").text = f'"{part.etag}"'
        url = self._url("POST", upload.staged, _named(upload))
        answer = await self._patient.ask(Request("POST", url, {}, Memory(tostring(root))))
        if answer.status == 404:
            return  # an earlier answer was lost, or somebody was quicker: whether the object is there is seen next
        if answer.status == 400:
            raise PartTooSmall() if b"EntityTooSmall" in answer.body else PartsChanged()
        # S3 may say 200 first and the error in the body, when it had to think for long.
        if parse_xml(answer).tag == "Error":
            raise StoreUnavailable

    async def abort(self, upload: DirectUpload) -> None:
        if upload.in_parts:
            answer = await self._ask("DELETE", upload.staged, _named(upload))
            if answer.status != 404:
                answer.expect(204)

    async def close(self) -> None:
        await self._wire.close()
        await self._patient.close()

    def _form(self, wanted: Wanted, size: int) -> Offer:
        key = staging(wanted.upload)
        said = {"key": key, "Content-Type": wanted.content_type, "success_action_status": "201"}
        policy = PostPolicy(self._bucket, wanted.until)
        for name, value in said.items():
            policy.add_equals_condition(name, value)
        policy.add_content_length_range_condition(0, size)
        fields = {**said, **self._public.presigned_post_policy(policy)}
        return Offer("form", "POST", key, url=self._form_url, fields=fields)

    async def _ask(
        self,
        method: str,
        key: str,
        query: Mapping[str, str],
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Answer:
        return await self._wire.ask(Request(method, self._url(method, key, query), headers or {}, body))

    def _url(self, method: str, key: str, query: Mapping[str, str]) -> str:
        return self._own.get_presigned_url(method, self._bucket, key, OWN, extra_query_params=dict(query))


def _signer(endpoint: str, region: str, access_key: str, secret_key: str) -> Minio:
    """With a region it never asks the store for one."""
    parts = urlsplit(endpoint)
    return Minio(parts.netloc, access_key, secret_key, secure=parts.scheme == "https", region=region)


async def _as_signed(request: Request) -> tuple[str, dict[str, str]]:
    return request.url, dict(request.headers)


def _named(upload: DirectUpload) -> dict[str, str]:
    return {"uploadId": upload.backend["multipart"]}


def _part(entry: Element) -> Part:
    return Part(int(_text(entry, "PartNumber")), int(_text(entry, "Size")), _text(entry, "ETag").strip('"'))


def _text(element: Element, name: str) -> str:
    found = element.findtext(name)
    if found is None:
        raise StoreUnavailable
    return found
