"""Pixels out of a file that somebody else made. What it declares is looked at before anything is unpacked."""

import warnings
from typing import IO

from PIL import Image, ImageOps

from services.upload.blobs.store import StoreUnavailable
from services.upload.images.rules import FORMATS

LARGEST_FILE = 256 * 1024 * 1024  # bytes of a file that is looked at
SPARE = 1.5  # pixels decoded for each one wanted, each way: against ideal scaling 44 dB, far above what WebP keeps

_DIRECT = frozenset({"L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"})  # modes that can be made smaller as they are


class Unreadable(Exception):
    """`code`: image_broken, too_many_pixels, image_too_large or not_an_image. It will be so for ever."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def open_image(file: IO[bytes], max_pixels: int) -> Image.Image:
    """Nothing is decoded yet. Raises Unreadable, StoreUnavailable."""
    try:
        # Only warns of what it finds large; whether it is too large is decided below.
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        image = Image.open(file, formats=sorted(set(FORMATS.values())))
    except Image.DecompressionBombError:
        raise Unreadable("too_many_pixels") from None
    except StoreUnavailable:
        raise
    except Exception as error:
        raise Unreadable("image_broken") from error
    if image.width * image.height > max_pixels:
        raise Unreadable("too_many_pixels")
    return image


def shrink(image: Image.Image, size: int) -> Image.Image:
    """At most `size` pixels wide and high, upright, RGB or RGBA; never larger than it was. A JPEG is decoded no larger
    than needed; of a moving picture the first frame is taken. Raises Unreadable, StoreUnavailable.
    """
    try:
        image.seek(0)
        _draft(image, size)
        if image.mode not in _DIRECT:
            image = _plain(image)
        image.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=2.0)
        upright = ImageOps.exif_transpose(image)
        return upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except StoreUnavailable:
        raise
    except Exception as error:
        raise Unreadable("image_broken") from error


def _draft(image: Image.Image, size: int) -> None:
    """Has a JPEG decoded at a half, a quarter or an eighth, no smaller than `SPARE` times what is wanted of it. Pillow
    does it for a square, so that what is not square comes up to twice as large as needed, and takes as much longer.
    """
    part = SPARE * size / max(image.size)
    image.draft(None, (max(1, int(image.width * part)), max(1, int(image.height * part))))


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        # 16 bits of grey: the upper eight are what a screen shows.
        depth = 1 / 256 if image.mode.startswith("I") else 1.0
        plain = image.convert("F").point(lambda value: value * depth + 0.0).convert("L")
    else:
        plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
    # The place it was made up in: `exif_transpose` asks the image it is given.
    plain.info = dict(image.info)
    return plain
