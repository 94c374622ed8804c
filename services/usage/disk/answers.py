"""What `/system/df` answers. Up to API 1.51 `Images` and `Volumes`, from 1.52 on `ImageUsage` and `VolumeUsage`."""

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, Field

from services.usage.disk.rules import Image, Volume

T = TypeVar("T")
Size = Annotated[int, Field(le=2**53)]  # a figure beyond is none, and would not fit where sums are kept


class _Thing(BaseModel):
    labels: dict[str, str] | None = Field(default=None, alias="Labels")


class _Image(_Thing):
    size: Size = Field(alias="Size")
    shared: Size = Field(default=-1, alias="SharedSize")


class _Measured(BaseModel):
    size: Size = Field(alias="Size")


class _Volume(_Thing):
    usage: _Measured | None = Field(default=None, alias="UsageData")


class _Until151(BaseModel):
    """Null where there is none."""

    images: list[_Image] | None = Field(alias="Images")
    volumes: list[_Volume] | None = Field(alias="Volumes")


class _Items(BaseModel, Generic[T]):
    """Left out where there is none."""

    items: list[T] | None = Field(default=None, alias="Items")


class _From152(BaseModel):
    images: _Items[_Image] = Field(alias="ImageUsage")
    volumes: _Items[_Volume] = Field(alias="VolumeUsage")


def read_usage(body: bytes, *, nested: bool) -> tuple[list[Image], list[Volume]]:
    """`nested`: of API 1.52 or newer. Raises pydantic's ValidationError."""
    if nested:
        new = _From152.model_validate_json(body)
        return _images(new.images.items), _volumes(new.volumes.items)
    old = _Until151.model_validate_json(body)
    return _images(old.images), _volumes(old.volumes)


def _images(found: list[_Image] | None) -> list[Image]:
    return [Image(_known(image.size), _known(image.shared), image.labels or {}) for image in found or []]


def _volumes(found: list[_Volume] | None) -> list[Volume]:
    return [Volume(_known(v.usage.size) if v.usage else None, v.labels or {}) for v in found or []]


def _known(size: int) -> int | None:
    """-1 is how the engine says that it does not know."""
    return size if size >= 0 else None
