"""What a file may not be while it claims to be something else. Pure.

Only disguises are refused: a program, a page, an archive behind a picture's name or type. A JPEG called .png is a
picture.
"""

from collections.abc import Mapping
from typing import Literal

from services.upload.errors import TypeMismatch
from services.upload.files.rules import extension
from services.upload.media import text

Family = Literal[
    "image", "svg", "media", "font", "pdf", "office", "zip", "archive", "page", "xml", "script", "text", "program"
]

# Clients say these of anything.
GENERIC = frozenset(
    {"", "application/octet-stream", "binary/octet-stream", "text/plain", "application/x-www-form-urlencoded"}
)

_TYPES: Mapping[str, Family] = {
    "image/svg+xml": "svg",
    "application/pdf": "pdf",
    "text/html": "page",
    "application/xhtml+xml": "page",
    "application/xml": "xml",
    "text/xml": "xml",
    "text/x-shellscript": "script",
    "text/x-php": "script",
    "text/x-msdos-batch": "script",
    "application/x-executable": "program",
    "application/x-mach-binary": "program",
    "application/vnd.microsoft.portable-executable": "program",
    "application/x-ms-shortcut": "program",
    "application/wasm": "program",
    "application/java-vm": "program",
    "application/vnd.android.dex": "program",
    "application/zip": "zip",
    "application/java-archive": "zip",
    "application/vnd.android.package-archive": "zip",
    "application/epub+zip": "office",
    "application/msword": "office",
    "application/x-ole-storage": "office",
    "application/rtf": "office",
    "text/rtf": "office",
    "application/gzip": "archive",
    "application/x-tar": "archive",
    "application/x-bzip2": "archive",
    "application/x-xz": "archive",
    "application/zstd": "archive",
    "application/x-7z-compressed": "archive",
    "application/vnd.rar": "archive",
}
_PREFIXES: tuple[tuple[str, Family], ...] = (
    ("image/", "image"),
    ("video/", "media"),
    ("audio/", "media"),
    ("font/", "font"),
    ("application/vnd.openxmlformats-officedocument.", "office"),
    ("application/vnd.oasis.opendocument.", "office"),
    ("application/vnd.ms-", "office"),
)
_ENDINGS: Mapping[Family, str] = {
    "image": "png jpg jpeg jpe gif webp bmp tif tiff ico avif heic heif jp2 psd",
    "svg": "svg",
    "media": "mp3 wav flac ogg oga ogv opus m4a m4b aac mp4 m4v mov webm mkv avi wmv wma 3gp mpg mpeg",
    "font": "ttf otf woff woff2",
    "pdf": "pdf",
    "office": "docx xlsx pptx odt ods odp doc xls ppt rtf epub",
    "zip": "zip",
    "archive": "gz tgz tar bz2 xz zst 7z rar",
    "text": "txt csv tsv md json log",
}
_BY_ENDING: Mapping[str, Family] = {f".{e}": family for family, ends in _ENDINGS.items() for e in ends.split()}

# What may hide behind another name, and what each claim covers all the same.
_DISGUISED = frozenset({"page", "svg", "xml", "script", "program", "zip", "archive", "pdf", "office"})
_COVERED: Mapping[Family, frozenset[Family]] = {
    "svg": frozenset({"xml", "archive"}),  # .svgz
    "office": frozenset({"zip", "xml", "page"}),  # older ones are saved as XML, spreadsheets as tables of HTML
    "zip": frozenset({"office", "archive"}),
    "archive": frozenset({"zip", "office"}),
    "text": frozenset({"page", "svg", "xml", "script"}),
}
_CLAIMS = frozenset({"image", "svg", "media", "font", "pdf", "office", "zip", "archive", "text"})


def check_claims(head: bytes, found: str, declared: str, name: str) -> None:
    """`found`: the content's media type. Raises TypeMismatch."""
    family = family_of(found)
    claims: dict[str, Family | None] = {
        declared: None if declared in GENERIC else family_of(declared),
        f"*{extension(name)}": _BY_ENDING.get(extension(name)),
    }
    for claim, claimed in claims.items():
        if claimed is not None and family is not None and hides(claimed, family):
            raise TypeMismatch(claim, found)
    if family == "image" and text.hides_page(head):
        raise TypeMismatch(found, f"{found} with a page inside")


def family_of(media: str) -> Family | None:
    """None for what nothing is known of."""
    exact = _TYPES.get(media)
    return exact or next((family for prefix, family in _PREFIXES if media.startswith(prefix)), None)


def hides(claimed: Family, found: Family) -> bool:
    """Would somebody who believes the claim be deceived?"""
    if claimed not in _CLAIMS or found == claimed or found not in _DISGUISED:
        return False
    return found not in _COVERED.get(claimed, frozenset())
