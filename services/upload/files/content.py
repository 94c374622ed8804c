"""A file's bytes over HTTP: whole, ranges of them, or "you have it already"."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from starlette.responses import Response, StreamingResponse

from services.upload.errors import FileNotFound
from services.upload.files.models import StoredFile
from services.upload.files.ranges import Span, Unsatisfiable, Validators, requested_spans
from services.upload.files.rules import disposition, shown_type
from services.upload.files.service import BytesGone, FileService
from shared.http import Problem, owner_headers

# What was uploaded may be a page with scripts: it is a download, and nothing runs in it.
_POLICY = "sandbox; default-src 'none'"
_INLINE_POLICY = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
# Browsers show no PDF in a sandbox; its own scripts see no page of ours.
_PDF_POLICY = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'"

ATTEMPTS = 3

Disposition = Literal["attachment", "inline"]


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for bytes. `inline`: to be looked at, not saved. `shared`: by a link, which other sites may embed."""

    headers: Mapping[str, str]
    head: bool = False
    inline: bool = False
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """`spans` are the bytes that travel; several are told apart by `boundary`."""

    status: int
    headers: dict[str, str]
    media_type: str
    size: int
    spans: tuple[Span, ...] = ()
    boundary: str = ""

    @property
    def length(self) -> int:
        """Bytes of the file in it."""
        return sum(span.length for span in self.spans)

    @property
    def starts(self) -> int:
        return min((span.start for span in self.spans), default=0)

    def lead(self, span: Span) -> bytes:
        """What stands before a piece."""
        if not self.boundary:
            return b""
        head = f"Content-Type: {self.media_type}\r\nContent-Range: {span.within(self.size)}"
        return f"\r\n--{self.boundary}\r\n{head}\r\n\r\n".encode()

    @property
    def tail(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode() if self.boundary else b""

    @property
    def content_length(self) -> int:
        return self.length + sum(len(self.lead(span)) for span in self.spans) + len(self.tail)


Admit = Callable[[StoredFile, Answer], Awaitable[Callable[[int], None] | None]]


async def respond(
    files: FileService, find: Callable[[], Awaitable[StoredFile]], ask: Ask, admit: Admit | None = None
) -> Response:
    """`find` gives the file to read. `admit` may refuse before a byte travels; what it returns hears at the end how
    many of the file's bytes were sent.
    """
    told: Callable[[int], None] | None = None
    for attempt in range(ATTEMPTS):
        file = await find()
        answer = plan(file, ask, datetime.now(UTC))
        if ask.head or not answer.spans:
            return _bare(answer)
        if admit is not None and attempt == 0:
            told = await admit(file, answer)
        try:
            # Replaced or moved between the look and the reading: the next look finds it where it is now.
            first, rest = await files.open(file, answer.spans[0])
        except BytesGone:
            continue
        headers = {**answer.headers, "content-length": str(answer.content_length)}
        body = _body(files, file, answer, first, rest, told)
        return StreamingResponse(body, answer.status, headers, media_type=_outer_type(answer))
    raise FileNotFound


def plan(file: StoredFile, ask: Ask, now: datetime) -> Answer:
    """Raises Problem 412 and 416, FileScanning, FileBlocked, FileNotFound."""
    file.check_readable()
    known = Validators(f'"{file.sha256}"', file.updated_at)
    media_type, inline = shown_type(file.content_type, inline=ask.inline)
    headers = _headers(file, known, media_type, inline=inline, shared=ask.shared)
    if known.unmet(ask.headers):
        raise Problem(412, "precondition_failed", "The file is not the one that was asked for any more.")
    if known.known(ask.headers):
        return Answer(304, headers, media_type, file.size)
    spans = _spans(file, ask, known, now)
    if not spans:
        whole = (Span(0, file.size),)
        return Answer(200, headers, media_type, file.size, whole)
    if len(spans) == 1:
        headers["content-range"] = spans[0].within(file.size)
    boundary = os.urandom(16).hex() if len(spans) > 1 else ""
    return Answer(206, headers, media_type, file.size, tuple(spans), boundary)


def _spans(file: StoredFile, ask: Ask, known: Validators, now: datetime) -> list[Span]:
    try:
        return requested_spans(ask.headers.get("range") if known.continues(ask.headers, now) else None, file.size)
    except Unsatisfiable:
        raise Problem(
            416,
            "range_not_satisfiable",
            f"The file has {file.size} bytes.",
            headers={"content-range": f"bytes */{file.size}"},
        ) from None


def _headers(file: StoredFile, known: Validators, media_type: str, *, inline: bool, shared: bool) -> dict[str, str]:
    policy = _POLICY
    if inline:
        policy = _PDF_POLICY if media_type == "application/pdf" else _INLINE_POLICY
    return {
        "etag": known.tag,
        "last-modified": known.last_modified,
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-disposition": disposition(file.name, inline=inline),
        "content-security-policy": policy,
        "cross-origin-resource-policy": "cross-origin" if shared else "same-origin",
        "x-content-type-options": "nosniff",
        **owner_headers(file.tenant_id, file.project_id),
    }


def _outer_type(answer: Answer) -> str:
    return f"multipart/byteranges; boundary={answer.boundary}" if answer.boundary else answer.media_type


def _bare(answer: Answer) -> Response:
    headers = dict(answer.headers)
    if answer.status == 304:
        return Response(status_code=304, headers=headers)
    headers["content-length"] = str(answer.content_length)
    return Response(status_code=answer.status, headers=headers, media_type=_outer_type(answer))


async def _body(
    files: FileService,
    file: StoredFile,
    answer: Answer,
    first: bytes,
    rest: AsyncIterator[bytes],
    told: Callable[[int], None] | None,
) -> AsyncIterator[bytes]:
    sent = 0
    try:
        for number, span in enumerate(answer.spans):
            if lead := answer.lead(span):
                yield lead
            if number:
                first, rest = await files.open(file, span)
            # Counted before it is handed on: what the client may have is never less than what is counted.
            sent += len(first)
            yield first
            async for chunk in rest:
                sent += len(chunk)
                yield chunk
        if answer.tail:
            yield answer.tail
    finally:
        if told is not None:
            told(sent)
