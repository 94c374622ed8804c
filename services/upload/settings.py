"""What `upload` is told by its environment."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "upload"
    secrets: ClassVar[tuple[str, ...]] = ("internal_secret", "signing_secret")

    base_url: str
    billing_url: str
    storage_backend: Literal["local"] = "local"
    local_storage_path: Path
    signing_secret: str  # several, newest first, separated by commas, while keys rotate
    max_file_size: int = Field(default=52_428_800, gt=0)  # bytes through the form upload (S1.12)
    max_resumable_size: int = Field(default=5 * 1024**4, gt=0)  # bytes in pieces or straight to the store
    allowed_types: str = ""  # media types separated by commas, `image/*` for a family; empty allows all
    reservation_seconds: int = Field(default=3600, ge=5)
    orphan_seconds: int = Field(default=86_400, ge=0)  # from finding an object without a file to removing it
    idle_seconds: float = Field(default=30, gt=0)  # a body that brings nothing for so long is given up
    task_concurrency: int = Field(default=4, ge=1)  # files a worker scans or looks at side by side
    upgrade_url: str = "/app/plans"

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

    @property
    def allowed(self) -> frozenset[str]:
        return frozenset(part.strip() for part in self.allowed_types.split(",") if part.strip())
