"""What an image is, found by looking at it once."""

from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image

from services.upload.images.analysis import rules
from services.upload.images.analysis.embedder import Embedder
from services.upload.images.decoding import open_image, shrink
from services.upload.media import xmp

_TOLD = {"camera_make": ExifTags.Base.Make, "camera_model": ExifTags.Base.Model, "software": ExifTags.Base.Software}
TEXT = 200  # characters of a text somebody else wrote
COLOURS = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """`width` and `height` in pixels as it is seen, after `orientation` (EXIF's 1..8) is applied."""

    width: int
    height: int
    orientation: int
    format: str
    has_location: bool
    phash: int
    embedding: rules.Vector
    details: dict[str, Any]


def look(file: IO[bytes], max_pixels: int, embedder: Embedder) -> Facts:
    """Takes a while: run it in a thread. Raises Unreadable, StoreUnavailable."""
    image = open_image(file, max_pixels)
    width, height, kind = image.width, image.height, image.format or ""
    moves = bool(getattr(image, "is_animated", False))
    small = _flat(shrink(image, 256))
    exif = image.getexif()
    orientation = _orientation(exif)
    if orientation >= 5:
        width, height = height, width
    pixels = np.asarray(small)
    grey = rules.luminance(np.asarray(small.resize((32, 32), Image.Resampling.LANCZOS)))
    return Facts(
        width=width,
        height=height,
        orientation=orientation,
        format=kind.lower(),
        has_location=_has_location(image, exif),
        phash=rules.perceptual_hash(grey),
        embedding=embedder.embed(small),
        details={
            "average_color": rules.average_colour(pixels),
            "dominant_colors": _dominant(small),
            "animated": moves,
            **_told(exif),
        },
    )


def _flat(image: Image.Image) -> Image.Image:
    """On white, as a page would show it."""
    if image.mode != "RGBA":
        return image
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image).convert("RGB")


def _dominant(small: Image.Image) -> list[dict[str, Any]]:
    """The most common colours, the most common first, each with its share of the picture."""
    reduced = small.resize((64, 64), Image.Resampling.BOX).quantize(COLOURS)
    palette = reduced.getpalette() or []
    counts = np.bincount(np.asarray(reduced).ravel(), minlength=COLOURS)
    return [
        {"color": "#" + bytes(palette[3 * n : 3 * n + 3]).hex(), "share": round(float(counts[n]) / 4096, 4)}
        for n in np.argsort(-counts, kind="stable")
        if counts[n]
    ]


def _orientation(exif: Image.Exif) -> int:
    found = exif.get(ExifTags.Base.Orientation, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _has_location(image: Image.Image, exif: Image.Exif) -> bool:
    packets = [image.info.get(name) or b"" for name in ("xmp", "XML:com.adobe.xmp")]
    texts = [packet.encode() if isinstance(packet, str) else packet for packet in packets]
    return ExifTags.IFD.GPSInfo in exif or any(xmp.tells_place(text) for text in texts)


def _told(exif: Image.Exif) -> dict[str, str]:
    """Camera and time. Never where."""
    told = {name: exif.get(tag) for name, tag in _TOLD.items()}
    told["taken_at"] = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal)
    return {name: text for name, value in told.items() if (text := _text(value))}


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value if c.isprintable()).encode("utf-8", "ignore").decode().strip()[:TEXT]
