"""A file's bytes over HTTP: whole, a range of them, or "you have it already"."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response, StreamingResponse

from services.upload.files.models import StoredFile
from services.upload.files.rules import disposition
from services.upload.files.service import FileService
from shared.http import Problem

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class Span:
    """`length` bytes from `start`."""

    start: int
    length: int


class Unsatisfiable(ValueError):
    """The range lies outside the file."""


def requested_span(header: str | None, size: int) -> Span | None:
    """One range of RFC 9110; None for no range, several, or one that makes no sense: then all is sent."""
    found = _RANGE.fullmatch((header or "").replace(" ", ""))
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise Unsatisfiable
        return Span(size - length, length)
    start, end = int(first), min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return Span(start, end - start + 1)


async def respond(files: FileService, file: StoredFile, request: Mapping[str, str], *, head: bool) -> Response:
    """`request` are the request's headers."""
    tag = f'"{file.sha256}"'
    headers = {
        "etag": tag,
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-disposition": disposition(file.name),
        # What was uploaded may be a page with scripts: it is a download, and nothing runs in it.
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
    }
    if _matches(request.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    wanted = request.get("range") if request.get("if-range", tag) == tag else None
    try:
        span = requested_span(wanted, file.size)
    except Unsatisfiable:
        raise Problem(
            416,
            "range_not_satisfiable",
            f"The file has {file.size} bytes.",
            headers={"content-range": f"bytes */{file.size}"},
        ) from None
    status = 200 if span is None else 206
    if span is not None:
        headers["content-range"] = f"bytes {span.start}-{span.start + span.length - 1}/{file.size}"
    span = span or Span(0, file.size)
    headers["content-length"] = str(span.length)
    if head:
        return Response(status_code=status, headers=headers, media_type=file.content_type)
    body = await files.open(file, span.start, span.length)
    return StreamingResponse(body, status, headers, media_type=file.content_type)


def _matches(header: str | None, tag: str) -> bool:
    if header is None:
        return False
    return header.strip() == "*" or tag in {part.strip().removeprefix("W/") for part in header.split(",")}
