"""Which files are images here, and what an image may be. Pure."""

from typing import Literal, get_args

from services.upload.errors import InvalidUpload, TypeNotAllowed
from services.upload.media import rules as media

Kind = Literal["generated", "reference"]

# By the media type its content has, what Pillow calls the format. Anything else is stored as a file, not as an image.
FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/tiff": "TIFF",
    "image/bmp": "BMP",
    "image/x-ms-bmp": "BMP",
    "image/avif": "AVIF",
}
LADDER = (64, 128, 256, 400, 800, 1200, 1600)  # pixels of a thumbnail's longer side


def check_image(head: bytes) -> None:
    """Raises TypeNotAllowed."""
    kind = media.media_type(head, None)
    if kind not in FORMATS:
        raise TypeNotAllowed(kind)


def check_kind(text: str | None) -> Kind | None:
    """Raises InvalidUpload."""
    for kind in get_args(Kind):
        if text == kind:
            return kind  # type: ignore[no-any-return]
    if text is not None:
        raise InvalidUpload("invalid_kind", "An image is generated or reference.")
    return None


def rung(size: int) -> int:
    """The smallest size of the ladder that is not smaller, so that nobody can have 1,500 thumbnails made."""
    return next((step for step in LADDER if step >= size), LADDER[-1])


def similarity(distance: float) -> float:
    """1 for the same, 0 for nothing in common, from a cosine distance; six decimals."""
    return round(max(0.0, min(1.0, 1 - distance)), 6)


def hash_text(phash: int | None) -> str | None:
    """16 hex digits of what the database keeps as a signed number."""
    return None if phash is None else f"{phash & (2**64 - 1):016x}"
