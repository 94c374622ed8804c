"""Images as the API shows them."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel

from services.upload.images.quota.rules import Allowance, Code
from services.upload.images.quota.schemas import ImageQuotaInfo
from services.upload.images.repository import Near, Seen
from services.upload.images.rules import hash_text, similarity

HOURS = 24  # the signed address of a new image lives so long


class ImageUploadOut(BaseModel):
    """`url` is signed and valid for `expires_in_hours`; `key` is the store's. `quota_info` right after it."""

    image_id: UUID
    url: str
    key: str
    size_bytes: int
    content_type: str
    expires_in_hours: int = HOURS
    quota_info: ImageQuotaInfo
    message_code: Code

    @classmethod
    def of(cls, row: Any, url: str, allowance: Allowance) -> Self:
        """`row` is the stored file's."""
        # What has just been stored was allowed, so nothing of it is refused: 0 remain at worst.
        code: Code = "IMAGE_QUOTA_UNLIMITED" if allowance.limit is None else "IMAGE_QUOTA_REMAINING"
        return cls(
            image_id=row.id,
            url=url,
            key=row.path,
            size_bytes=row.size,
            content_type=row.content_type,
            quota_info=ImageQuotaInfo.of(allowance),
            message_code=code,
        )


class ImageOut(BaseModel):
    """Pixels as the picture is seen, its orientation applied. `analysed` false: it will be looked at soon; with `error`
    it was, and could not be read. `perceptual_hash` in hex.
    """

    image_id: UUID
    key: str
    name: str
    size_bytes: int
    content_type: str
    kind: str | None
    created_at: datetime
    metadata: dict[str, Any]
    analysed: bool
    error: str | None
    width: int | None
    height: int | None
    orientation: int | None
    format: str | None
    has_location: bool | None
    perceptual_hash: str | None
    embedding_model: str | None
    analysis: dict[str, Any]

    @classmethod
    def of(cls, seen: Seen) -> Self:
        return cls(**cls.fields(seen))

    @staticmethod
    def fields(seen: Seen) -> dict[str, Any]:
        file, image = seen.file, seen.image
        found = image.model_dump() if image is not None else {}
        names = ("error", "width", "height", "orientation", "format", "has_location")
        return {
            "image_id": file.id,
            "key": file.path,
            "name": file.name,
            "size_bytes": file.size,
            "content_type": file.content_type,
            "kind": file.details.get("kind"),
            "created_at": file.created_at,
            "metadata": file.details,
            "analysed": image is not None,
            **{name: found.get(name) for name in names},
            "perceptual_hash": hash_text(found.get("phash")),
            "embedding_model": found.get("model"),
            "analysis": found.get("analysis") or {},
        }


class SimilarOut(ImageOut):
    """`similarity` of the embeddings, 1 for the same; `hash_distance` in bits of 64, 0 for the same."""

    similarity: float
    hash_distance: int

    @classmethod
    def near(cls, near: Near) -> Self:
        return cls(**cls.fields(near.seen), similarity=similarity(near.distance), hash_distance=near.bits)


class SimilarImages(BaseModel):
    items: list[SimilarOut]
