pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.broker",
    "tests.fixtures.stack",
    "tests.fixtures.parts",
    "tests.fixtures.stores",
]
