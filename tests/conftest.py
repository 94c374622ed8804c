"""What every test may use, and which tests run side by side.

A file's tests run one after another in one process; so do all that share something which takes long to start.
"""

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.serving",
    "tests.fixtures.broker",
    "tests.fixtures.stack",
    "tests.fixtures.parts",
    "tests.fixtures.stores",
]

WHOLE = ("deploy", "e2e", "browser", "security", "faults")  # folders of tests that start whole stacks
STORES = {"s3_server", "azure_server", "gcs_server"}

# How long an example takes to make says something of the machine and its other work, not of the code.
settings.register_profile("stowage", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("stowage")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """A group is the end of a test's name to pytest-xdist. Were they lost, each process would start everything, and
    nobody would say so.
    """
    if session.items and session.config.getoption("loadgroup", default=False):
        assert "@" in session.items[0].nodeid, "groups are not kept together: this pytest-xdist is not for this pytest"


def _group(item: pytest.Item) -> str:
    needs = set(getattr(item, "fixturenames", ()))
    if needs & {"stack", "kafka_stack"} or item.path.relative_to(item.config.rootpath).parts[1] in WHOLE:
        return "stacks"
    return "stores" if needs & STORES else str(item.path.relative_to(item.config.rootpath))
