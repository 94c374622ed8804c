"""The category tree is configuration: a file in place of the one that is shipped."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from pydantic import ValidationError

from services.upload.main import create
from tests.fixtures.postgres import PostgresServer
from tests.services.upload.conftest import Billing, Upload, serving, settings_for

TREE = "documents: []\nimages: []\nfilms: [raw, cut]\n"


@pytest.fixture
async def cinema(pg: PostgresServer, tmp_path: Path, billing: Billing) -> AsyncIterator[Upload]:
    file = tmp_path / "categories.yaml"
    file.write_text(TREE)
    dsn = pg.create("upload")
    settings = settings_for(dsn.app, tmp_path / "store", billing.url, categories=file)
    app = create(settings)
    async with aiohttp.ClientSession() as http:
        async for server in serving(app, settings):
            yield Upload(settings.base_url, app, dsn, tmp_path / "store", settings, http, server)


async def test_files_go_where_the_tree_of_the_installation_has_a_place(cinema: Upload) -> None:
    ada = cinema.customer()
    status, made = await ada.upload(b"film", fields={"category": "films", "subcategory": "raw"})
    assert (status, made["category"], made["subcategory"]) == (201, "films", "raw")
    assert made["file_path"].startswith(f"customers/{ada.tenant}/films/raw/")
    assert (await ada.call("PUT", "/api/storage/content/films/a/b.txt", data=b"film"))[0] == 201
    for fields in ({"category": "properties"}, {"category": "films", "subcategory": "leases"}):
        status, refused = await ada.upload(b"film", fields=fields)
        assert (status, refused["code"]) == (422, "unknown_category")
    assert "documents, films, images" in (await ada.upload(b"x", fields={"category": "properties"}))[1]["detail"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("documents: []", "CATEGORIES: images must be among the categories"),
        ("films: [raw]", "CATEGORIES: documents and images must be among the categories"),
        ("documents: leases", "CATEGORIES: documents: Input should be a valid list"),
        ("documents: [../up]", "CATEGORIES: documents.0: String should match pattern"),
        ("Films and more: []", "CATEGORIES: Films and more: String should match pattern"),
        ("[documents, images]", "CATEGORIES: Input should be a valid dictionary"),
        ("documents: [", "CATEGORIES: .*categories.yaml cannot be read as YAML"),
    ],
)
def test_a_tree_that_is_none_stops_the_start_with_one_line(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "categories.yaml"
    file.write_text(text)
    with pytest.raises(ValidationError, match=said) as error:
        settings_for("postgresql://nobody@127.0.0.1/none", tmp_path, "http://127.0.0.1:1", categories=file)
    assert "\n" not in error.value.errors()[0]["msg"]
    with pytest.raises(ValidationError, match="cannot be read"):
        settings_for(
            "postgresql://nobody@127.0.0.1/none", tmp_path, "http://127.0.0.1:1", categories=tmp_path / "none.yaml"
        )


def test_none_and_an_empty_variable_mean_the_one_that_is_shipped(tmp_path: Path) -> None:
    for said in ({}, {"categories": ""}):
        settings = settings_for("postgresql://nobody@127.0.0.1/none", tmp_path, "http://127.0.0.1:1", **said)
        assert "floor-plans" in settings.tree["properties"]
