"""What the line and the headers of a PUT say. Pure."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote_to_bytes

from services.upload.errors import InvalidUpload

_SHA256 = re.compile(r"sha-256\s*=\s*:([A-Za-z0-9+/=]*):(?:\s*;.*)?", re.IGNORECASE)
_TAG = re.compile(r'"([0-9a-f]{64})"')


@dataclass(frozen=True, slots=True)
class Address:
    """Where a file belongs, as people name it; `folder` "" for none."""

    category: str
    folder: str
    name: str

    @classmethod
    def read(cls, raw: bytes, before: int) -> Self:
        """Of a request's path as it travelled; `before`: segments that lead to the address. Each segment is decoded
        once and by itself, so that an encoded slash stays part of a name, and is refused there. Raises InvalidUpload.
        """
        try:
            segments = [unquote_to_bytes(segment).decode() for segment in raw.split(b"/")[before + 1 :]]
        except UnicodeDecodeError:
            raise InvalidUpload("invalid_file_name", "A path is UTF-8, percent-encoded.") from None
        if len(segments) < 2:
            raise InvalidUpload("invalid_file_name", "A path is category/folders/name.")
        for folder in segments[1:-1]:
            if "/" in folder or not folder:
                raise InvalidUpload("invalid_folder", "A folder's name is like a file's.")
        return cls(segments[0], "/".join(segments[1:-1]), segments[-1])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What has to be at the address. `vacant`: nothing; `present`: a file; `tags`: one with one of these sha256, in
    hex, None for any.
    """

    vacant: bool = False
    present: bool = False
    tags: frozenset[str] | None = None

    @classmethod
    def read(cls, if_match: str | None, if_none_match: str | None) -> Self:
        """Raises InvalidUpload for what no PUT can mean."""
        if if_none_match is not None and if_none_match.strip() != "*":
            raise InvalidUpload("invalid_condition", "Of If-None-Match a PUT understands *.")
        vacant, present = if_none_match is not None, if_match is not None
        if if_match is None or if_match.strip() == "*":
            return cls(vacant, present)
        # A weak tag never matches here, and neither does one that is none of ours.
        return cls(vacant, present, frozenset(_TAG.findall(re.sub(r'W/"[^"]*"', "", if_match))))

    def met_by(self, row: Mapping[str, Any] | None) -> bool:
        """`row`: of the file at the address."""
        if row is None:
            return not self.present
        return not self.vacant and (self.tags is None or row["sha256"] in self.tags)


def sha256_of(*headers: str | None) -> str | None:
    """In hex, what `Repr-Digest` and `Content-Digest` (RFC 9530) say; they say the same, for nothing is encoded here.
    Other algorithms than sha-256 are passed over. Raises InvalidUpload.
    """
    said = {_decoded(member.strip()) for header in headers if header for member in header.split(",")} - {None}
    if len(said) > 1:
        raise InvalidUpload("invalid_digest", "The digests contradict each other.")
    return said.pop() if said else None


def _decoded(member: str) -> str | None:
    if not member.lower().startswith("sha-256"):
        return None
    found = _SHA256.fullmatch(member)
    try:
        raw = base64.b64decode(found[1], validate=True) if found else b""
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise InvalidUpload("invalid_digest", "A digest is sha-256=:32 bytes in base64:.")
    return raw.hex()
