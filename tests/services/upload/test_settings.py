"""What `upload` refuses to start with."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.services.upload.conftest import settings_for


@pytest.mark.parametrize("secret", ["", "short", "s" * 31, "s" * 40 + ",", "," + "s" * 40, "s" * 40 + ",short"])
def test_every_signing_key_is_long(secret: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="32 or more characters"):
        settings_for("postgresql://x@127.0.0.1/x", tmp_path, "http://127.0.0.1:1", signing_secret=secret)


def test_keys_may_rotate(tmp_path: Path) -> None:
    told = f"{'n' * 32}, {'o' * 32}"
    settings = settings_for("postgresql://x@127.0.0.1/x", tmp_path, "http://127.0.0.1:1", signing_secret=told)
    assert settings.signing_secrets == ["n" * 32, "o" * 32]
