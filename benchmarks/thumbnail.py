"""A thumbnail of a large photo, when it is first asked for; beside Pillow with the same file and the same settings."""

import asyncio
import io
import time
from pathlib import Path

from PIL import Image, ImageFilter

from benchmarks.load import Line
from benchmarks.report import Row
from benchmarks.service import Service, service
from tests.fixtures.postgres import PostgresServer

WIDTH, HEIGHT = 6000, 4000  # 24 megapixels
SIZE = 320
ROUNDS = 5


async def run(pg: PostgresServer) -> list[Row]:
    photo = _photo()
    async with service(pg) as ours:
        return [await asyncio.to_thread(_compare, ours, photo)]


def _photo() -> bytes:
    """Noise and shapes, as large a file as cameras make."""
    noise = Image.effect_noise((WIDTH // 4, HEIGHT // 4), 60).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    photo = Image.merge(
        "RGB", (noise, noise.filter(ImageFilter.BoxBlur(8)), noise.transpose(Image.Transpose.ROTATE_180))
    )
    made = io.BytesIO()
    photo.save(made, "JPEG", quality=90)
    return made.getvalue()


def _compare(ours: Service, photo: bytes) -> Row:
    line = Line(ours.url, ours.headers)
    file = ours.root / "photo.jpg"
    file.write_bytes(photo)
    took: dict[str, list[float]] = {"ours": [], "pillow": [], "read": []}
    for number in range(ROUNDS):
        said = {"Content-Type": "image/jpeg", "X-File-Size": str(len(photo))}
        made = line.send("PUT", f"/api/storage/content/documents/{number}.jpg", photo, said)
        assert made.status == 201, made
        path = f"/api/images/{made.json()['file_id']}/thumbnail?size={SIZE}"
        begun = time.perf_counter()
        answer = line.ask("GET", path)
        took["ours"].append(time.perf_counter() - begun)
        assert (answer.status, answer.headers["content-type"]) == (200, "image/webp"), answer
        took["pillow"].append(_pillow(file))
        took["read"].append(_read(file))
    line.close()
    best = {name: min(seconds) for name, seconds in took.items()}
    ratio = best["ours"] / best["pillow"]
    return Row(
        f"thumbnail of {SIZE} px of a JPEG of 24 megapixels",
        "ms",
        best["ours"] * 1000,
        best["pillow"] * 1000,
        best["read"] * 1000,
        f"{ratio:.2f} × Pillow alone",
        "≤ 1.3 × Pillow alone",
        ratio <= 1.3,
        f"the best of {ROUNDS}; ours is stored and answered, too; raw decodes at the smallest scale and no more",
    )


def _pillow(file: Path) -> float:
    begun = time.perf_counter()
    with Image.open(file) as image:
        image.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS, reducing_gap=2.0)
        image.save(io.BytesIO(), "WEBP", quality=80, method=2)
    return time.perf_counter() - begun


def _read(file: Path) -> float:
    begun = time.perf_counter()
    with Image.open(file) as image:
        image.draft("RGB", (SIZE, SIZE))
        image.load()
    return time.perf_counter() - begun
