"""What a process is told, what it refuses to start with, and what it never says aloud."""

import os
import subprocess
import sys
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from shared.settings import WEAK, ServiceSettings, load

STRONG = "f3Qz8vLk1TnXw5RbY7mJ2hGc9dPs4uAe"
LINK_KEY = "Zk7pW2xN9rB4tV6yM1qH8jC3gL5sD0fU"
DSN = "postgresql://app:hunter2-of-the-database@127.0.0.1:5432/sample"
REQUIRED = {"database_url": DSN, "kafka_bootstrap": "127.0.0.1:9092", "internal_secret": STRONG}


class Sample(ServiceSettings):
    service_name: ClassVar[str] = "sample"
    secrets: ClassVar[tuple[str, ...]] = ("internal_secret", "link_key")

    link_key: str = LINK_KEY


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Sample.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def make(**changes: Any) -> Sample:
    return Sample(**({**REQUIRED, **changes}))


def started(**told: str) -> subprocess.CompletedProcess[str]:
    """A process that only loads its settings."""
    program = (
        "from shared.settings import ServiceSettings, load\n"
        "class Sample(ServiceSettings):\n"
        "    service_name = 'sample'\n"
        "print(load(Sample).mode)\n"
    )
    inherited = {name: value for name, value in os.environ.items() if name.lower() not in Sample.model_fields}
    environment = inherited | {name.upper(): value for name, value in told.items()}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30, env=environment
    )


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_what_is_required(name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Sample(**{key: value for key, value in REQUIRED.items() if key != name})  # type: ignore[arg-type]
    assert [(error["loc"], error["type"]) for error in refused.value.errors()] == [((name,), "missing")]


def test_defaults() -> None:
    settings = make()
    assert settings.production
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert (settings.database_pool, settings.log_level) == (16, "INFO")
    assert (settings.otel_exporter_otlp_endpoint, settings.local_traces_url) == (None, None)


def test_one_request_in_twenty_is_traced_and_all_of_them_locally() -> None:
    assert make().sampling == 0.05
    assert make(mode="local").sampling == 1.0
    assert make(trace_ratio=0.0).sampling == 0.0
    assert make(mode="local", trace_ratio=0.25).sampling == 0.25


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "development"),
        ("port", 65536),
        ("port", -1),
        ("database_pool", 1),
        ("log_level", "LOUD"),
        ("trace_ratio", 1.1),
        ("internal_secret", STRONG[:31]),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: object) -> None:
    for mode in ("local", "production"):
        with pytest.raises(ValidationError):
            make(**({"mode": mode} | {name: value}))


def test_they_come_from_the_environment_and_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**REQUIRED, "port": "9001", "mode": "local", "unknown": "x"}.items():
        monkeypatch.setenv(name.upper(), value)
    settings = load(Sample)
    assert (settings.port, settings.mode, settings.database_url) == (9001, "local", DSN)
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]


@pytest.mark.parametrize("word", WEAK)
def test_production_refuses_a_secret_that_looks_like_a_default(word: str) -> None:
    weak = f"{word.title()}-{STRONG}"
    with pytest.raises(ValidationError, match="INTERNAL_SECRET must be"):
        make(internal_secret=weak)
    with pytest.raises(ValidationError, match="LINK_KEY must be"):
        make(link_key=weak)
    assert make(mode="local", internal_secret=weak).internal_secret == weak


@pytest.mark.parametrize("short", ["", STRONG[:31]])
def test_production_refuses_a_short_secret_of_a_service(short: str) -> None:
    with pytest.raises(ValidationError, match="LINK_KEY must be"):
        make(link_key=short)


def test_a_process_that_is_told_everything_starts() -> None:
    ended = started(**REQUIRED)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "production\n", "")


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"internal_secret": f"changeme-{STRONG}"}, "INTERNAL_SECRET must be 32 or more random characters"),
        ({"internal_secret": "hush"}, "INTERNAL_SECRET: "),
        ({"port": "eighty"}, "PORT: "),
        ({"mode": "Production"}, "MODE: "),
        ({"database_url": None}, "DATABASE_URL: "),
    ],
)
def test_a_process_told_wrong_ends_with_one_line_that_shows_no_value(told: dict[str, str | None], line: str) -> None:
    values = {name: value for name, value in (REQUIRED | told).items() if value is not None}
    ended = started(**values)
    assert (ended.returncode, ended.stdout) == (os.EX_CONFIG, "")
    assert ended.stderr.startswith(f"sample: {line}")
    assert ended.stderr.count("\n") == 1
    shown = [name for name, value in values.items() if name != "kafka_bootstrap" and value in ended.stderr]
    assert shown == []


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_secrets_are_never_shown(show: Any) -> None:
    shown = show(make())
    for secret in (STRONG, LINK_KEY, "hunter2-of-the-database"):
        assert secret not in shown
