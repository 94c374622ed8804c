"""`Range` and the conditions that go with it (RFC 9110). Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

RANGES = 16  # pieces of one answer; who asks for more gets the whole
_RANGE = re.compile(r"(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Span:
    """`length` bytes from `start`."""

    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length

    def within(self, size: int) -> str:
        """The value of Content-Range."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


class Unsatisfiable(ValueError):
    """Every range lies outside the file."""


def requested_spans(header: str | None, size: int) -> list[Span]:
    """What is asked for, in the order it is asked; empty for the whole: no range, one that makes no sense, too many, or
    so much overlap that the pieces are more than the file. Pieces that touch become one. Raises Unsatisfiable.
    """
    unit, _, listed = (header or "").replace(" ", "").replace("\t", "").partition("=")
    if unit.lower() != "bytes" or listed.count(",") >= RANGES:
        return []
    spans: list[Span] = []
    for part in filter(None, listed.split(",")):
        found = _RANGE.fullmatch(part)
        if found is None or not any(found.groups()):
            return []
        first, last = found.groups()
        if first and last and int(last) < int(first):
            return []
        span = _span(first, last, size)
        if span is not None:
            spans.append(span)
    if not spans and listed.strip(","):
        raise Unsatisfiable
    spans = _coalesced(spans)
    return spans if sum(span.length for span in spans) <= size else []


def _span(first: str, last: str, size: int) -> Span | None:
    """None when it lies outside."""
    if not first:
        length = min(int(last), size)
        return Span(size - length, length) if length else None
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    return Span(start, end - start + 1) if start < size else None


def _coalesced(spans: list[Span]) -> list[Span]:
    """A piece that touches or overlaps the one before it is joined to it."""
    joined: list[Span] = []
    for span in spans:
        before = joined[-1] if joined else None
        if before is not None and span.start <= before.end and before.start <= span.end:
            start = min(before.start, span.start)
            joined[-1] = Span(start, max(before.end, span.end) - start)
        else:
            joined.append(span)
    return joined


@dataclass(frozen=True, slots=True)
class Validators:
    """What a client may know of the bytes: their tag, and when they last changed."""

    tag: str  # with its quotes
    modified: datetime

    @property
    def last_modified(self) -> str:
        return format_datetime(self.modified.astimezone(UTC).replace(microsecond=0), usegmt=True)

    def unmet(self, request: Mapping[str, str]) -> bool:
        """`If-Match`, or else `If-Unmodified-Since`, says: only if it is still the one I know."""
        if (match := request.get("if-match")) is not None:
            return not lists(match, self.tag, weak=False)
        since = _date(request.get("if-unmodified-since"))
        return since is not None and self._seconds > since

    def known(self, request: Mapping[str, str]) -> bool:
        """`If-None-Match`, or else `If-Modified-Since`, says: I have it already."""
        if (match := request.get("if-none-match")) is not None:
            return lists(match, self.tag, weak=True)
        since = _date(request.get("if-modified-since"))
        return since is not None and self._seconds <= since

    def continues(self, request: Mapping[str, str], now: datetime) -> bool:
        """`If-Range` names these bytes. A date does only when nothing can have changed within its second."""
        wanted = request.get("if-range")
        if wanted is None or wanted.strip() == self.tag:
            return True
        date = _date(wanted)
        return date == self._seconds and now.timestamp() >= self._seconds + 1

    @property
    def _seconds(self) -> int:
        return int(self.modified.timestamp())


def lists(header: str, tag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags has that one. A weak tag says too little for `If-Match`."""
    if header.strip() == "*":
        return True
    tags = [part.strip() for part in header.split(",")]
    return tag in ([part.removeprefix("W/") for part in tags] if weak else tags)


def _date(text: str | None) -> int | None:
    """Seconds since the epoch; None for no date, or none that can be read."""
    try:
        return None if text is None else int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None
