"""The headers of tus 1.0, read strictly. Pure."""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Self
from uuid import UUID

from services.upload.intake.placement import read_flag
from services.upload.resumable.errors import InvalidHeader, TooMuchData, WrongOffset

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,termination,checksum,expiration,concatenation"
ALGORITHMS = {"sha1": 20, "sha256": 32, "md5": 16, "crc32": 4}  # bytes of a digest
CONTENT_TYPE = "application/offset+octet-stream"
PATH = "/api/storage/uploads"
PARTS = 256  # of one concatenation

_KEY = re.compile(r"[!-+\--~]+")  # visible ASCII but the comma
_PART = re.compile(rf"(?:https?://[^/\s]+)?{PATH}/([0-9a-f-]{{36}})")

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Checksum:
    algorithm: str
    digest: bytes

    @classmethod
    def read(cls, headers: Headers) -> Self | None:
        text = headers.get("upload-checksum")
        if text is None:
            return None
        algorithm, _, encoded = text.partition(" ")
        if algorithm not in ALGORITHMS:
            raise InvalidHeader("unknown_checksum_algorithm", f"Known algorithms: {', '.join(ALGORITHMS)}.")
        digest = _decoded(encoded)
        if digest is None or len(digest) != ALGORITHMS[algorithm]:
            raise InvalidHeader("invalid_checksum", f"Upload-Checksum is {algorithm} and its digest in base64.")
        return cls(algorithm, digest)


@dataclass(frozen=True, slots=True)
class Body:
    """`length` in bytes, None when chunks will tell; `checksum` of what this request brings."""

    length: int | None
    checksum: Checksum | None

    @classmethod
    def read(cls, headers: Headers) -> Self:
        length = 0 if "transfer-encoding" not in headers else None
        return cls(
            _number(headers, "content-length") if "content-length" in headers else length, Checksum.read(headers)
        )

    @property
    def empty(self) -> bool:
        return self.length == 0


@dataclass(frozen=True, slots=True)
class Concat:
    """`said` is the header as it came; `parts` of a final upload in their order."""

    kind: Literal["partial", "final"]
    said: str
    parts: tuple[UUID, ...] = ()

    @classmethod
    def read(cls, headers: Headers) -> Self | None:
        text = headers.get("upload-concat")
        if text is None:
            return None
        if text == "partial":
            return cls("partial", text)
        kind, _, addresses = text.partition(";")
        found = [_PART.fullmatch(address) for address in addresses.split()]
        if kind != "final" or not found or not all(found):
            raise InvalidHeader("invalid_concat", "Upload-Concat is partial, or final; and the addresses of the parts.")
        parts = tuple(_id(match[1]) for match in found if match)
        if len(set(parts)) < len(parts) or len(parts) > PARTS:
            raise InvalidHeader("invalid_concat", f"At most {PARTS} parts, and none of them twice.")
        return cls("final", text, parts)


@dataclass(frozen=True, slots=True)
class Creation:
    """`length` in bytes, None when it is to be told later; `said` is Upload-Metadata as it came."""

    length: int | None
    said: str
    concat: Concat | None
    body: Body

    @classmethod
    def read(cls, headers: Headers) -> Self:
        concat, body = Concat.read(headers), Body.read(headers)
        said = headers.get("upload-metadata", "")
        read_metadata(said)
        final = concat is not None and concat.kind == "final"
        if final and ("upload-length" in headers or not body.empty):
            raise InvalidHeader("invalid_concat", "The parts say the length, and there are no bytes beside them.")
        length = None if final else _announced(headers)
        if length is not None and body.length is not None and body.length > length:
            raise TooMuchData(length)
        if not body.empty:
            check_content_type(headers)
        return cls(length, said, concat, body)

    @property
    def partial(self) -> bool:
        return self.concat is not None and self.concat.kind == "partial"


@dataclass(frozen=True, slots=True)
class Piece:
    """What a PATCH brings: bytes from `offset` on, and perhaps the `length` of the whole, said at last."""

    offset: int
    length: int | None
    body: Body

    @classmethod
    def read(cls, headers: Headers) -> Self:
        check_content_type(headers)
        length = _number(headers, "upload-length") if "upload-length" in headers else None
        return cls(_number(headers, "upload-offset"), length, Body.read(headers))

    def agree(self, offset: int, length: int | None) -> int | None:
        """The whole upload's length, if it is known now; it has `offset` bytes and was said to have `length`.

        Raises WrongOffset, InvalidHeader, TooMuchData.
        """
        if self.offset != offset:
            raise WrongOffset(offset)
        if self.length is not None and (self.length < offset or length not in {None, self.length}):
            raise InvalidHeader(
                "invalid_upload_length", "The length was said before, or so many bytes are here already."
            )
        agreed = self.length if length is None else length
        if agreed is not None and offset + (self.body.length or 0) > agreed:
            raise TooMuchData(agreed)
        return agreed


def check_content_type(headers: Headers) -> None:
    if headers.get("content-type") != CONTENT_TYPE:
        raise ContentTypeUnsupported


class ContentTypeUnsupported(InvalidHeader):
    def __init__(self) -> None:
        super().__init__("content_type_unsupported", f"The bytes of an upload are {CONTENT_TYPE}.")
        self.status = 415


def read_metadata(text: str) -> dict[str, str]:
    """Upload-Metadata: keys with base64 of UTF-8 text, or nothing, with commas between."""
    found: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else ():
        key, _, encoded = pair.strip().partition(" ")
        value = _text(_decoded(encoded))
        if not _KEY.fullmatch(key) or key in found or value is None:
            raise InvalidHeader("invalid_upload_metadata", "Upload-Metadata is keys and base64 of UTF-8, no key twice.")
        found[key] = value
    return found


def strips_location(said: str) -> bool:
    """Whether it is a photo that must not say where it was taken. Raises InvalidHeader, InvalidUpload."""
    return read_flag(read_metadata(said).get("strip_location"))


def write_metadata(said: Mapping[str, str | None]) -> str:
    return ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in said.items() if value is not None)


def renewed(now: datetime, lifetime: timedelta, before: datetime) -> datetime:
    """When an upload expires that goes on `now`. Only later again once a twelfth has gone by: that spares writes."""
    return now + lifetime if before < now + lifetime * 11 / 12 else before


def _announced(headers: Headers) -> int | None:
    deferred = headers.get("upload-defer-length")
    if deferred not in {None, "1"} or (deferred is None) == ("upload-length" not in headers):
        raise InvalidHeader("invalid_upload_length", "Say Upload-Length, or Upload-Defer-Length: 1.")
    return None if deferred else _number(headers, "upload-length")


def _number(headers: Headers, name: str) -> int:
    text = headers.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidHeader(f"invalid_{name.replace('-', '_')}", f"{name} is a number of bytes.")
    return int(text)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidHeader("invalid_concat", "A part is named by the address it was given.") from None


def _decoded(text: str) -> bytes | None:
    try:
        return b64decode(text.strip(), validate=True)
    except binascii.Error:
        return None


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
