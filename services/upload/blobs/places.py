"""Where stores are and how one gets in, as configuration says it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, model_validator

from services.upload.blobs.locations import DEFAULT
from shared.settings import WEAK

_LEAST_SECRET = 16  # characters


class _Place(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LocalPlace(_Place):
    """`blobs`: a folder that was there before, in place of the one below `path`."""

    backend: Literal["local"]
    path: Path
    blobs: Path | None = None


class _RemotePlace(_Place):
    """`endpoint` is where we reach the store, `public_endpoint` where clients do."""

    endpoint: str = ""
    public_endpoint: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        endpoint = (self.endpoint or self._usual()).rstrip("/")
        filled = {"endpoint": endpoint, "public_endpoint": (self.public_endpoint or endpoint).rstrip("/")}
        for name, value in filled.items():
            if urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname:
                raise ValueError(f"an address begins with http:// or https://, and {name} does not")
        self.__dict__.update(filled)  # frozen for everybody else
        return self

    def _usual(self) -> str:
        raise NotImplementedError


class S3Place(_RemotePlace):
    backend: Literal["s3"]
    region: str = Field(default="us-east-1", min_length=1)
    bucket: str = Field(min_length=3, max_length=63)
    access_key: str = Field(min_length=1)
    secret_key: SecretStr = Field(min_length=1)

    def _usual(self) -> str:
        return f"https://s3.{self.region}.amazonaws.com"


class AzurePlace(_RemotePlace):
    """`sas`: a token for the container, instead of the account's key."""

    backend: Literal["azure"]
    account: str = Field(min_length=1)
    container: str = Field(min_length=3, max_length=63)
    key: SecretStr = SecretStr("")
    sas: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _let_in(self) -> Self:
        if not self.key.get_secret_value() and not self.sas.get_secret_value():
            raise ValueError("key or sas is needed")
        return self

    def _usual(self) -> str:
        return f"https://{self.account}.blob.core.windows.net"


class GcsPlace(_RemotePlace):
    """Without `credentials_file` Google's own are looked for; an emulator, reached by `endpoint`, asks for none."""

    backend: Literal["gcs"]
    bucket: str = Field(min_length=3, max_length=222)
    project: str = ""
    credentials_file: Path | None = None

    @property
    def anonymous(self) -> bool:
        return self.credentials_file is None and not self.endpoint.endswith(".googleapis.com")

    def _usual(self) -> str:
        return "https://storage.googleapis.com"


Place = LocalPlace | S3Place | AzurePlace | GcsPlace
_PLACE: TypeAdapter[Place] = TypeAdapter(Annotated[Place, Field(discriminator="backend")])
_PLACES: TypeAdapter[dict[str, Any]] = TypeAdapter(
    dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")], dict[str, Any]]
)


def read_place(told: Mapping[str, Any]) -> Place:
    """Raises ValueError, one line without any value, its beginning the name of what is wrong."""
    try:
        return _PLACE.validate_python(dict(told))
    except ValidationError as error:
        raise ValueError(_first(error)) from None


def read_places(file: Path) -> dict[str, Place]:
    """The further stores: a YAML object of names. Raises ValueError, as above."""
    try:
        found = _PLACES.validate_python(yaml.safe_load(file.read_text()) or {})
    except ValidationError as error:
        raise ValueError(_first(error)) from None
    except (OSError, ValueError, yaml.YAMLError):
        raise ValueError(f"{file} cannot be read as YAML") from None
    if DEFAULT in found:
        raise ValueError(f"{DEFAULT!r} is the store of STORAGE_BACKEND")
    places = {}
    for name, told in found.items():
        try:
            places[name] = read_place(told)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return places


def is_weak(secret: str) -> bool:
    """Of one that a provider has made: shorter than our own may be."""
    return len(secret) < _LEAST_SECRET or any(word in secret.lower() for word in WEAK)


def _first(error: ValidationError) -> str:
    found = error.errors(include_input=False, include_url=False)[0]
    # The first word is the kind of place; what is wrong in it is of interest.
    names = [str(word) for word in found["loc"] if word not in {"local", "s3", "azure", "gcs"}]
    message = found["msg"].removeprefix("Value error, ")
    return f"{'.'.join(names)}: {message}" if names else message
