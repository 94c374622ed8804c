"""What every test may use, and which tests run side by side.

A file's tests run one after another in one process; so do all that share something which takes long to start.
"""

import pytest

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.broker",
    "tests.fixtures.stack",
    "tests.fixtures.parts",
    "tests.fixtures.stores",
]

SHARED = ("kafka_stack", "stack", "s3_server", "azure_server", "gcs_server")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    needs = getattr(item, "fixturenames", ())
    return next((name for name in SHARED if name in needs), str(item.path))
