"""What `upload` refuses to start with."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.upload.blobs.places import S3Place
from services.upload.settings import Settings
from tests.services.upload.conftest import settings_for


@pytest.mark.parametrize("secret", ["", "short", "s" * 31, "s" * 40 + ",", "," + "s" * 40, "s" * 40 + ",short"])
def test_every_signing_key_is_long(secret: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="32 or more characters"):
        settings_for("postgresql://x@127.0.0.1/x", tmp_path, "http://127.0.0.1:1", signing_secret=secret)


def test_keys_may_rotate(tmp_path: Path) -> None:
    told = f"{'n' * 32}, {'o' * 32}"
    settings = settings_for("postgresql://x@127.0.0.1/x", tmp_path, "http://127.0.0.1:1", signing_secret=told)
    assert settings.signing_secrets == ["n" * 32, "o" * 32]


def told(tmp_path: Path, **changes: Any) -> Settings:
    return settings_for("postgresql://x@127.0.0.1/x", tmp_path, "http://127.0.0.1:1", **changes)


S3 = {"storage_backend": "s3", "s3_bucket": "files", "s3_access_key": "key", "s3_secret_key": "a-long-and-random-one"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"local_storage_path": None}, "LOCAL_STORAGE_PATH is needed"),
        ({**S3, "s3_bucket": ""}, "S3_BUCKET: Field required"),
        ({**S3, "s3_secret_key": ""}, "S3_SECRET_KEY: Field required"),
        ({**S3, "s3_endpoint": "localhost:9000"}, "and endpoint does not"),
        ({"storage_backend": "azure", "azure_account": "a", "azure_container": "files"}, "key or sas is needed"),
        ({"storage_backend": "gcs"}, "GCS_BUCKET: Field required"),
        ({"storage_backend": "ftp"}, "Input should be 'local', 's3', 'azure' or 'gcs'"),
        ({**S3, "mode": "production", "s3_secret_key": "minioadmin"}, "16 or more random characters"),
    ],
)
def test_a_store_is_named_completely(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    strong = {"internal_secret": "i" * 40, "signing_secret": "g" * 40}
    with pytest.raises(ValidationError, match=said):
        told(tmp_path, **strong, **changes)


def test_endpoints_have_the_usual_values(tmp_path: Path) -> None:
    place = told(tmp_path, **S3, s3_region="eu-central-1").places["default"]
    assert isinstance(place, S3Place)
    assert place.endpoint == place.public_endpoint == "https://s3.eu-central-1.amazonaws.com"
    place = told(tmp_path, **S3, s3_endpoint="http://store:7070/").places["default"]
    assert isinstance(place, S3Place)
    assert place.endpoint == place.public_endpoint == "http://store:7070"


def test_no_secret_is_shown(tmp_path: Path) -> None:
    settings = told(tmp_path, **S3)
    assert "a-long-and-random-one" not in repr(settings) + str(settings.places)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("eu: {backend: s3, bucket: acme}", "STORAGE_LOCATIONS: eu: access_key: Field required"),
        ("eu: {backend: tape}", "STORAGE_LOCATIONS: eu: Input tag 'tape'"),
        ("eu: {backend: local, path: /x, size: 3}", "eu: size: Extra inputs are not permitted"),
        ("default: {backend: local, path: /x}", "'default' is the store of STORAGE_BACKEND"),
        ("Eu West: {backend: local, path: /x}", "STORAGE_LOCATIONS: Eu West"),
        ("[1, 2]", "STORAGE_LOCATIONS: Input should be a valid dictionary"),
        ("eu: {", "cannot be read as YAML"),
    ],
)
def test_further_stores_are_named_completely(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "locations.yaml"
    file.write_text(text)
    with pytest.raises(ValidationError, match=said):
        told(tmp_path, storage_locations=file)
    with pytest.raises(ValidationError, match="cannot be read"):
        told(tmp_path, storage_locations=tmp_path / "none.yaml")


def test_further_stores(tmp_path: Path) -> None:
    file = tmp_path / "locations.yaml"
    file.write_text("eu: {backend: local, path: /x}\ncold: {backend: gcs, bucket: acme}")
    assert told(tmp_path, storage_locations=file).places.keys() == {"default", "eu", "cold"}
