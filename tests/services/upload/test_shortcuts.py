"""What the shortcuts answer is what the description of the API declares."""

from collections.abc import Mapping

import pytest

from services.upload.shortcuts import SHORTCUTS
from shared.http import Shortcut
from tests.services.upload.conftest import Upload


@pytest.mark.parametrize("shortcut", SHORTCUTS, ids=lambda shortcut: shortcut.path)
async def test_it_is_declared(service: Upload, shortcut: Shortcut) -> None:
    paths: Mapping[str, Mapping[str, object]] = service.app.openapi()["paths"]
    assert shortcut.method.lower() in paths[shortcut.path]
