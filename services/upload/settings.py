"""What `upload` is told by its environment."""

import re
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator

from services.upload.blobs.locations import DEFAULT
from services.upload.blobs.places import AzurePlace, LocalPlace, Place, S3Place, is_weak, read_place, read_places
from services.upload.files.categories import SHIPPED, read_categories
from services.upload.files.rules import Tree
from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "upload"
    secrets: ClassVar[tuple[str, ...]] = ("internal_secret", "signing_secret")

    base_url: str
    billing_url: str
    storage_backend: Literal["local", "s3", "azure", "gcs"] = "local"
    local_storage_path: Path | None = None
    s3_endpoint: str = ""
    s3_public_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_bucket: str = ""
    s3_access_key: str = ""
    s3_secret_key: SecretStr = SecretStr("")
    azure_endpoint: str = ""
    azure_public_endpoint: str = ""
    azure_account: str = ""
    azure_container: str = ""
    azure_key: SecretStr = SecretStr("")
    azure_sas: SecretStr = SecretStr("")
    gcs_endpoint: str = ""
    gcs_public_endpoint: str = ""
    gcs_bucket: str = ""
    gcs_project: str = ""
    gcs_credentials_file: Path | None = None
    storage_locations: Path | None = None  # further stores by name, in YAML
    spool_path: Path | None = None  # parts on their way to an object store, and images at work
    store_seconds: float = Field(default=30, gt=0)  # how long a store that fails is asked again
    signing_secret: str  # several, newest first, separated by commas, while keys rotate
    max_file_size: int = Field(default=52_428_800, gt=0)  # bytes through the form upload (S1.12)
    max_resumable_size: int = Field(default=5 * 1024**4, gt=0)  # bytes in pieces or straight to the store
    allowed_types: str = ""  # media types separated by commas, `image/*` for a family; empty allows all
    categories: Path | None = None  # the category tree, in YAML; none: the one that is shipped
    reservation_seconds: int = Field(default=3600, ge=5)
    orphan_seconds: int = Field(default=86_400, ge=0)  # from finding an object without a file to removing it
    resumable_seconds: int = Field(default=86_400, ge=5)  # an upload in pieces is kept so long after the last of them
    idle_seconds: float = Field(default=30, gt=0)  # a body that brings nothing for so long is given up
    clamav_url: str = ""  # tcp://host:port; empty: files are not scanned
    scan_size_limit: int = Field(default=100 * 1024**2, gt=0)  # bytes the scanner is configured to look at
    scan_oversize: Literal["block", "pass"] = "block"  # what becomes of larger files
    task_concurrency: int = Field(default=4, ge=1)  # files a worker scans or looks at side by side
    reconciliation_hour: int = Field(default=1, ge=0, le=23)  # UTC, from which tenants are looked at
    reconciliation_repair: bool = False  # whether what differs twice is put right without being asked
    upgrade_url: str = "/app/plans"
    gateway_url: str | None = None  # asked whose an address is; without it people see their own image quota only
    image_max_pixels: int = Field(default=50_000_000, gt=0)  # of a larger image nothing is decoded
    image_model: Path | None = None  # an .onnx file that makes embeddings; none: computed without weights

    _places: dict[str, Place] = PrivateAttr(default_factory=dict)
    _tree: Tree = PrivateAttr(default_factory=dict)

    @property
    def tree(self) -> Tree:
        """The category tree."""
        return self._tree

    @property
    def places(self) -> dict[str, Place]:
        """The stores there are, by location."""
        return self._places

    @property
    def signing_secrets(self) -> list[str]:
        return [part.strip() for part in self.signing_secret.split(",")]

    @field_validator("signing_secret")
    @classmethod
    def _are_keys(cls, value: str) -> str:
        # An empty one, left by a comma too many, would be a key everybody knows.
        if any(len(part.strip()) < 32 for part in value.split(",")):
            raise ValueError("wanted: 32 or more characters, several separated by commas")
        return value

    @field_validator("categories", mode="before")
    @classmethod
    def _none_is_shipped(cls, value: Any) -> Any:
        return value or None

    @field_validator("clamav_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value and not re.fullmatch(r"tcp://(?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}", value):
            raise ValueError("wanted: tcp://host:port")
        return value

    @property
    def allowed(self) -> frozenset[str]:
        return frozenset(part.strip() for part in self.allowed_types.split(",") if part.strip())

    @model_validator(mode="after")
    def _know_categories(self) -> Self:
        try:
            self._tree = read_categories(self.categories or SHIPPED)
        except ValueError as error:
            raise ValueError(f"CATEGORIES: {error}") from None
        return self

    @model_validator(mode="after")
    def _know_places(self) -> Self:
        self._places[DEFAULT] = self._default_place()
        if self.storage_locations is not None:
            try:
                self._places.update(read_places(self.storage_locations))
            except ValueError as error:
                raise ValueError(f"STORAGE_LOCATIONS: {error}") from None
        for name, place in self._places.items():
            if self.production and any(is_weak(secret) for secret in _secrets(place)):
                raise ValueError(f"the secret of the store {name!r} must be 16 or more random characters in production")
        return self

    def _default_place(self) -> Place:
        backend = self.storage_backend
        if backend == "local":
            if self.local_storage_path is None:
                raise ValueError("LOCAL_STORAGE_PATH is needed where STORAGE_BACKEND is local")
            return LocalPlace(backend=backend, path=self.local_storage_path)
        told = {
            name.removeprefix(f"{backend}_"): value
            for name in type(self).model_fields
            if name.startswith(f"{backend}_") and (value := getattr(self, name))
        }
        try:
            return read_place({"backend": backend, **told})
        except ValueError as error:
            field, _, message = str(error).rpartition(": ")
            raise ValueError(f"{backend.upper()}_{field.upper()}: {message}" if field else message) from None


def _secrets(place: Place) -> list[str]:
    match place:
        case S3Place():
            return [place.secret_key.get_secret_value()]
        case AzurePlace():
            return [found for found in (place.key.get_secret_value(), place.sas.get_secret_value()) if found]
    return []
