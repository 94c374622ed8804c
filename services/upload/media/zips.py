"""What a zip is by its first entries. Pure."""

import re

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")  # the second is an empty one's, the third one's in parts
_OFFICE = "application/vnd.openxmlformats-officedocument."
_INSIDE = (
    (re.compile(rb"word/"), "docx", f"{_OFFICE}wordprocessingml.document"),
    (re.compile(rb"xl/"), "xlsx", f"{_OFFICE}spreadsheetml.sheet"),
    (re.compile(rb"ppt/"), "pptx", f"{_OFFICE}presentationml.presentation"),
)
_SAYS = re.compile(rb"application/(?:vnd\.oasis\.opendocument\.[a-z-]{1,40}|epub\+zip)")


def zip_type(head: bytes, declared: str, extension: str) -> str:
    """The sender is asked only where the sample ends before the entry that would tell one Office format from another.

    An OpenDocument or EPUB file whose `mimetype` does not come first, as their standards want it, is a zip.
    """
    first = _first_entry(head)
    if first == b"mimetype":
        return _by_mimetype(head)
    if first == b"[Content_Types].xml" or first.startswith((b"_rels/", b"docProps/", b"word/", b"xl/", b"ppt/")):
        return _office(head, declared, extension)
    if first == b"AndroidManifest.xml" or b"AndroidManifest.xml" in head:
        return "application/vnd.android.package-archive"
    return "application/java-archive" if first.startswith(b"META-INF/") else "application/zip"


def _first_entry(head: bytes) -> bytes:
    length = int.from_bytes(head[26:28], "little")
    return head[30 : 30 + length]


def _by_mimetype(head: bytes) -> str:
    extra = int.from_bytes(head[28:30], "little")
    found = _SAYS.match(head, 38 + extra)
    return found[0].decode() if found else "application/zip"


def _office(head: bytes, declared: str, extension: str) -> str:
    for pattern, _, kind in _INSIDE:
        if pattern.search(head):
            return kind
    if declared.startswith((_OFFICE, "application/vnd.ms-")):
        return declared
    return next((kind for _, ending, kind in _INSIDE if extension == f".{ending}"), "application/zip")
