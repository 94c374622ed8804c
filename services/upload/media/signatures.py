"""Binary formats by their first bytes, where puremagic's table is wrong, vague or silent. Pure."""

import re
from collections.abc import Callable

_PLAIN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (0, b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (0, b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"dex\n03", "application/vnd.android.dex"),
    (0, bytes.fromhex("4c0000000114020000000000c000000000000046"), "application/x-ms-shortcut"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"\x00\x01\x00\x00\x00", "font/ttf"),
    (0, b"OTTO", "font/otf"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\x4f\xff\x51", "image/jp2"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (257, b"ustar", "application/x-tar"),
)

# The registered names of what puremagic calls otherwise.
NAMES = {
    "image/x-ms-bmp": "image/bmp",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "video/avi": "video/x-msvideo",
    "application/x-gzip": "application/gzip",
    "application/ogg": "audio/ogg",
    "application/java": "application/java-vm",
}

_BRANDS = {
    "avif": "image/avif",
    "avis": "image/avif",
    "heic": "image/heic",
    "heix": "image/heic",
    "hevc": "image/heic",
    "mif1": "image/heif",
    "msf1": "image/heif",
    "M4A ": "audio/mp4",
    "M4B ": "audio/mp4",
    "qt  ": "video/quicktime",
}

Reader = Callable[[bytes], str]


def signed_type(head: bytes) -> str:
    """Nothing where no signature fits."""
    for offset, signature, kind in _PLAIN:
        if head.startswith(signature, offset):
            return kind
    return next((kind for read in _READERS if (kind := read(head))), "")


def _windows(head: bytes) -> str:
    """MZ alone may begin a text; with NULs, or a header where it says, it is a program."""
    if not head.startswith(b"MZ") or len(head) < 64 or b"\x00" not in head[:128]:
        return ""
    return "application/vnd.microsoft.portable-executable"


def _java_or_fat(head: bytes) -> str:
    if not head.startswith(b"\xca\xfe\xba\xbe") or len(head) < 8:
        return ""
    # After the same first bytes a class has its version (45 and more), a program for several processors their number.
    number = int.from_bytes(head[4:8])
    return "application/java-vm" if number >= 40 else "application/x-mach-binary"


def _iso_media(head: bytes) -> str:
    if head[4:8] != b"ftyp":
        return ""
    brand = head[8:12].decode("latin-1")
    return "video/3gpp" if brand.startswith("3g") else _BRANDS.get(brand, "video/mp4")


def _matroska(head: bytes) -> str:
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return ""
    return "video/webm" if b"webm" in head[:64] else "video/x-matroska"


def _ogg(head: bytes) -> str:
    if not head.startswith(b"OggS"):
        return ""
    return "video/ogg" if b"\x80theora" in head[:64] else "audio/ogg"


def _pdf(head: bytes) -> str:
    """Readers forgive up to a KiB before it."""
    return "application/pdf" if b"%PDF-" in head[:1024] else ""


def _mp3(head: bytes) -> str:
    return "audio/mpeg" if re.match(rb"\xff[\xfb\xf3\xf2\xfa][\x10-\xeb]", head) else ""


_READERS: tuple[Reader, ...] = (_windows, _java_or_fat, _iso_media, _matroska, _ogg, _pdf, _mp3)
