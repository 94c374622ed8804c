"""From a picture to a vector: by arithmetic, or by an ONNX model of one's own."""

import hashlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from services.upload.images.analysis import rules

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which models expect
SIDE = 224  # pixels, where the model takes any


class Embedder(Protocol):
    """`name` changes whenever the vectors do: only vectors of one name can be compared."""

    name: str

    def embed(self, picture: Image.Image) -> rules.Vector:
        """Of length 1."""
        ...


class DefaultEmbedder:
    """Needs no weights; see `rules.embedding`."""

    name = "layout-256"

    def embed(self, picture: Image.Image) -> rules.Vector:
        return rules.embedding(np.asarray(picture.resize((64, 64), Image.Resampling.BOX)))


class OnnxEmbedder:
    """Input 1 by 3 by height by width, float32, normalised as for ImageNet; the first output, flattened."""

    def __init__(self, path: Path) -> None:
        import onnxruntime  # the extra `onnx`

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        content = path.read_bytes()
        self.name = f"onnx-{hashlib.sha256(content).hexdigest()[:16]}"
        self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0]
        height, width = self._input.shape[2:]
        self._size = (_side(width), _side(height))

    def embed(self, picture: Image.Image) -> rules.Vector:
        pixels = np.asarray(picture.resize(self._size, Image.Resampling.BICUBIC), np.float32) / 255
        pixels = (pixels - np.array(_MEAN, np.float32)) / np.array(_DEVIATION, np.float32)
        batch = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        (found, *_) = self._session.run(None, {self._input.name: batch})
        return rules.unit(np.asarray(found, np.float32).ravel())


def _side(said: Any) -> int:
    return said if isinstance(said, int) else SIDE


def open_embedder(model: Path | None) -> Embedder:
    return DefaultEmbedder() if model is None else OnnxEmbedder(model)
