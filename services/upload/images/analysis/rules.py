"""What can be computed of a small picture's pixels. Pure."""

import math

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # height by width by 3, RGB
Plane = NDArray[np.float32]
Vector = NDArray[np.float32]

LAYOUT, ORIENTATIONS, GRID = 48, 128, 4
DIMENSIONS = 256  # of the default embedding: 48 of colour, 128 of edges, 80 of coarse shape


def luminance(pixels: Pixels) -> Plane:
    """0..1, as ITU-R BT.601 weighs the colours."""
    weighed = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.asarray(weighed / 255, np.float32)


def cosines(grey: Plane) -> Plane:
    """The two-dimensional DCT-II of a square plane."""
    size = grey.shape[0]
    steps = np.arange(size, dtype=np.float32)
    basis = np.cos(np.pi * (2 * steps[None, :] + 1) * steps[:, None] / (2 * size)).astype(np.float32)
    return np.asarray(basis @ grey @ basis.T, np.float32)


def perceptual_hash(grey: Plane) -> int:
    """The pHash of a plane of 32 by 32: which of the 64 lowest frequencies are above their median. Signed, 64 bits."""
    low = cosines(grey)[:8, :8]
    bits = np.packbits((low > np.median(low)).ravel())
    return int.from_bytes(bits.tobytes(), "big", signed=True)


def hash_distance(one: int, other: int) -> int:
    """Bits that differ, 0..64; up to about 10 the pictures look the same."""
    return ((one ^ other) & (2**64 - 1)).bit_count()


def average_colour(pixels: Pixels) -> str:
    """#rrggbb."""
    return "#" + "".join(f"{round(float(value)):02x}" for value in pixels.reshape(-1, 3).mean(axis=0))


def embedding(pixels: Pixels) -> Vector:
    """Of a picture of 64 by 64, length 1: where which colours are, where edges run which way, and the coarse shape.

    Each part counts a third, so that the angle between two of them is how different they look. Not what they show:
    a model by setting knows that.
    """
    grey = luminance(pixels)
    parts = [_layout(pixels), _edges(grey), _shape(grey)]
    return unit(np.concatenate([unit(part) for part in parts]))


def unit(vector: Vector) -> Vector:
    """Of length 1, unless it has none."""
    length = float(np.linalg.norm(vector))
    return (vector / length).astype(np.float32) if math.isfinite(length) and length > 1e-9 else np.zeros_like(vector)


def _layout(pixels: Pixels) -> Vector:
    """Mean luma and two colour differences of 4 by 4 fields, each around 0."""
    fields = pixels.astype(np.float32).reshape(GRID, 16, GRID, 16, 3).mean(axis=(1, 3)) / 255 - 0.5
    red, green, blue = fields[..., 0], fields[..., 1], fields[..., 2]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([luma, red - luma, blue - luma], axis=-1).ravel().astype(np.float32)


def _edges(grey: Plane) -> Vector:
    """Strength of edges in 8 directions (a direction and its opposite are one) in 4 by 4 fields."""
    down, right = np.gradient(grey)
    strength = np.hypot(down, right)
    direction = (np.arctan2(down, right) % np.pi / np.pi * 8).astype(np.int64) % 8
    field = np.repeat(np.arange(GRID), 16)
    cell = (field[:, None] * GRID + field[None, :]) * 8 + direction
    return np.bincount(cell.ravel(), strength.ravel(), ORIENTATIONS).astype(np.float32)


def _shape(grey: Plane) -> Vector:
    """The 80 lowest frequencies but the constant one, in order of frequency."""
    found = cosines(grey)
    order = sorted(((y, x) for y in range(16) for x in range(16)), key=lambda at: (at[0] + at[1], at[0]))
    return np.array([found[at] for at in order[1 : DIMENSIONS - LAYOUT - ORIENTATIONS + 1]], np.float32)
