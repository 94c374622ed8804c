"""What every process is told by its environment. Built in `main`, passed down, never read at import."""

import os
import sys
from collections.abc import Iterable
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

WEAK = ("change", "secret", "default", "example", "password", "insecure")


class ServiceSettings(BaseSettings):
    """Common to all services; `SERVICE_NAME` is the class's, the rest the environment's."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    service_name: ClassVar[str] = "stowage"
    # Names of settings that must be long and no default in production.
    secrets: ClassVar[tuple[str, ...]] = ("internal_secret",)

    mode: Literal["local", "production"] = "production"
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    database_url: str
    database_pool: int = Field(default=16, ge=2, le=200)
    kafka_bootstrap: str
    internal_secret: str = Field(min_length=32)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    otel_exporter_otlp_endpoint: str | None = None
    local_traces_url: str | None = None
    trace_ratio: float | None = Field(default=None, ge=0, le=1)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        hidden = {*self.secrets, "internal_secret", "database_url"}
        return [(name, "**********" if name in hidden else value) for name, value in super().__repr_args__()]

    @property
    def production(self) -> bool:
        return self.mode == "production"

    @property
    def sampling(self) -> float:
        """Share of requests traced when the caller did not decide: all of them locally, one in twenty elsewhere."""
        return self.trace_ratio if self.trace_ratio is not None else (0.05 if self.production else 1.0)

    @model_validator(mode="after")
    def _refuse_weak_secrets(self) -> "ServiceSettings":
        if self.production:
            for name in self.secrets:
                value = str(getattr(self, name) or "")
                if len(value) < 32 or any(word in value.lower() for word in WEAK):
                    raise ValueError(f"{name.upper()} must be 32 or more random characters in production mode")
        return self


Settings = TypeVar("Settings", bound=ServiceSettings)


def load(kind: type[Settings]) -> Settings:
    """Reads the environment; ends the process with one line that says what is wrong, without showing any value."""
    try:
        return kind()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(map(str, first["loc"])).upper()
        message = first["msg"].removeprefix("Value error, ")
        print(f"{kind.service_name}: {name + ': ' if name else ''}{message}", file=sys.stderr)  # noqa: T201
        sys.stderr.flush()
        raise SystemExit(os.EX_CONFIG) from None
