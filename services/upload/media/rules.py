"""Media types, from what the bytes say. Pure."""

import re

import puremagic

from services.upload.errors import TypeNotAllowed
from services.upload.files.rules import extension
from services.upload.media import signatures, text, zips
from shared.events import FileType

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,95}")

# Text that a sender may name more closely than its content does.
_TEXTUAL = frozenset({"application/json", "application/javascript", "application/x-ndjson", "application/yaml"})
_TEXT_TYPES = (
    *("text/", "application/json", "application/xml", "application/pdf", "application/rtf", "application/postscript"),
    *("message/", "image/svg+xml"),
)
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_OLD_OFFICE = {
    ".doc": "application/msword",
    ".xls": "application/vnd.ms-excel",
    ".ppt": "application/vnd.ms-powerpoint",
    ".msg": "application/vnd.ms-outlook",
}

# offset → first byte there → [(signature, number in the table, entry)]
_SIGNATURES: dict[int, dict[bytes, list[tuple[bytes, int, puremagic.PureMagic]]]] = {}
for _number, _entry in enumerate(puremagic.magic_header_array):
    _place = _SIGNATURES.setdefault(_entry.offset, {})
    _place.setdefault(_entry.byte_match[:1], []).append((_entry.byte_match, _number, _entry))

_DOCUMENTS = (
    "text/",
    "application/pdf",
    "application/msword",
    "application/rtf",
    "application/json",
    "application/xml",
    "application/xhtml+xml",
    "application/epub+zip",
)


def media_type(head: bytes, declared: str | None, name: str = "") -> str:
    """What the content says it is; where it says nothing, the sender may call it text, else it is just bytes.

    What a browser or a machine would run comes before anything else that the same bytes may be.
    """
    declared, ending = clean(declared), extension(name)
    if head.startswith(zips.SIGNATURES):
        return zips.zip_type(head, declared, ending)
    if head.startswith(_OLE):
        said = declared if declared in _OLD_OFFICE.values() else ""
        return said or _OLD_OFFICE.get(ending, "application/x-ole-storage")
    found = text.active_type(head) or signatures.signed_type(head) or _looked_up(head)
    if found:
        return found
    if text.is_text(head):
        return declared if declared.startswith("text/") or declared in _TEXTUAL else "text/plain"
    # Not UTF-8, but what else has no NUL? An old encoding.
    return declared if head and declared.startswith("text/") and b"\x00" not in head else "application/octet-stream"


def clean(declared: str | None) -> str:
    """A media type without its parameters, in small letters; "" for what is none."""
    kind = (declared or "").split(";")[0].strip().lower()
    return kind if _MEDIA_TYPE.fullmatch(kind) else ""


def _looked_up(head: bytes) -> str:
    found = sniff(head)
    found = signatures.NAMES.get(found, found)
    # In the table are words that a letter may begin with, "BM" for one; and JSON is whatever begins with a brace.
    believed = found.startswith(_TEXT_TYPES) if text.is_text(head) else found != "application/json"
    return found if believed and _MEDIA_TYPE.fullmatch(found) else ""


def sniff(head: bytes) -> str:
    """The type whose signature in puremagic's table is the longest that fits, or nothing.

    puremagic itself compares all thousand of them, one by one, for 0.4 ms an upload. It is asked where one signature
    leads to others.
    """
    fitting = [
        (len(signature), -number, magic)
        for offset, known in _SIGNATURES.items()
        for signature, number, magic in known.get(head[offset : offset + 1], ())
        if head.startswith(signature, offset)
    ]
    if not fitting:
        return ""
    if any(magic.byte_match in puremagic.main.multi_part_dict for _, _, magic in fitting):
        return str(puremagic.from_string(head, mime=True)).lower()
    return str(max(fitting)[2].mime_type).lower()


def file_type(media: str) -> FileType:
    """S1.10."""
    for family in ("image", "video", "audio"):
        if media.startswith(f"{family}/"):
            return family
    documents = media.startswith(_DOCUMENTS) or any(
        m in media for m in ("officedocument", "opendocument", "ms-excel", "ms-powerpoint")
    )
    return "document" if documents else "other"


def is_allowed(media: str, allowed: frozenset[str]) -> bool:
    """By its name or by its family, `image/*`."""
    return media in allowed or f"{media.split('/', maxsplit=1)[0]}/*" in allowed


def check_type(media: str, allowed: frozenset[str]) -> None:
    """An empty list allows all. Raises TypeNotAllowed."""
    if allowed and not is_allowed(media, allowed):
        raise TypeNotAllowed(media)
