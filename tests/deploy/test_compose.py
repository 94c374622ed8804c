"""docker-compose.yml against the code: what it tells the processes is what they want. No engine is needed."""

import os
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.docker import secrets
from deploy.local import parts
from deploy.local.home import SERVICES
from deploy.local.postgres import SETTINGS
from shared.settings import ServiceSettings, load

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "docker"
COMPOSE = ROOT / "docker-compose.yml"
PUBLISHED = {"gateway", "payments", "store", "mail", "jaeger", "grafana"}
STANDS_FOR = {"console": {"jaeger", "mail"}, "postgres": {"postgres"}, "payments": {"payments"}, "kafka": {"kafka"}}

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
_LOOKS_SECRET = re.compile(r"PASSWORD|SECRET|API_KEY|TOKEN")


@dataclass(frozen=True)
class Stack:
    """The file as it is written, and the variables the secrets command makes for it."""

    text: str
    services: dict[str, Any]
    given: dict[str, str]

    def environment(self, service: str) -> dict[str, str]:
        """What the process gets to see."""
        written = self.services[service].get("environment", {})
        return {name: self.render(value) for name, value in written.items()}

    def render(self, value: str) -> str:
        def fill(found: re.Match[str]) -> str:
            name, kind, rest = found.groups()
            if name in self.given:
                return self.given[name]
            assert kind == "-", f"{name} is neither made nor has it a default"
            return str(rest)

        return _VARIABLE.sub(fill, value)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    folder = tmp_path_factory.mktemp("compose")
    make_secrets(folder)
    given = dict(line.split("=", 1) for line in (folder / "environment").read_text().splitlines())
    text = COMPOSE.read_text()
    return Stack(text, yaml.safe_load(text)["services"], given)


def make_secrets(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["secrets", str(folder)])
        secrets.main()


def ours(stack: Stack) -> list[str]:
    """Containers that run a service's process."""
    return [name for name in stack.services if module_of(stack, name).startswith("services.")]


def module_of(stack: Stack, service: str) -> str:
    match stack.services[service].get("command"):
        case ["python", "-m", module]:
            return str(module)
    return ""


def settings_of(module: str) -> type[ServiceSettings]:
    kind: type[ServiceSettings] = import_module(f"{module.rpartition('.')[0]}.settings").Settings
    return kind


def only(environment: dict[str, str], patch: pytest.MonkeyPatch) -> None:
    """The container's environment, and nothing of this process's own."""
    for name in list(os.environ):
        patch.delenv(name)
    for name, value in environment.items():
        patch.setenv(name, value)


def test_every_process_is_told_all_it_must_know_and_nothing_it_does_not_read(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ours(stack):
        kind = settings_of(module_of(stack, service))
        environment = stack.environment(service)
        unread = environment.keys() - {name.upper() for name in kind.model_fields}
        assert not unread, f"{service} is told {sorted(unread)}, which its settings do not know"
        only(environment, monkeypatch)
        settings = load(kind)
        assert settings.production, service
        assert settings.host == "0.0.0.0", service  # noqa: S104 - inside its container
        assert f"{settings.port}" == environment["PORT"] == "8080"


def test_a_weak_secret_is_refused(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for service in ours(stack):
        kind = settings_of(module_of(stack, service))
        for name in kind.secrets:
            weak = "whsec_" + "change" * 8  # base64, too, and of enough bytes
            only({**stack.environment(service), name.upper(): weak}, monkeypatch)
            with pytest.raises(SystemExit):
                load(kind)
            assert name.upper() in capsys.readouterr().err


def test_every_database_role_is_one_of_its_own_service(stack: Stack) -> None:
    for service in ours(stack):
        name, _, worker = service.partition("-")
        role = f"{name}_{'worker' if worker else 'app'}"
        password = stack.given[f"{role}_PASSWORD".upper()]
        assert stack.environment(service)["DATABASE_URL"] == f"postgresql://{role}:{password}@postgres/{name}"


def test_the_database_is_set_up_as_the_embedded_one_is(stack: Stack) -> None:
    """As far as it is not about the place: connections, the log's size, and how soon new tables have statistics."""
    _, *words = stack.services["postgres"]["command"]
    told = dict(word.split("=", 1) for word in words if word != "-c")
    assert told == {name: SETTINGS[name] for name in ("max_connections", "max_wal_size", "autovacuum_naptime")}


def test_addresses_inside_name_a_service_and_the_port_it_listens_on(stack: Stack) -> None:
    ports = {name: stack.environment(name)["PORT"] for name in [*ours(stack), "payments"]}
    ports |= {"otel": "4318", "kafka": "9092", "mail": "1025", "store": "7070"}
    for service in [*ours(stack), "payments", "migrations"]:
        for name, value in stack.environment(service).items():
            found = re.fullmatch(r"(?:\w+://)?([a-z]+):(\d+)", value)
            if found is not None and name != "BASE_URL":
                assert ports[found[1]] == found[2], f"{service}: {name}"


def test_the_sandbox_provider_may_call_back(stack: Stack) -> None:
    aliases = stack.services["gateway"]["networks"]["default"]["aliases"]
    told = stack.environment("payments")
    assert told["SANDBOX_CALLBACK_HOSTS"] in aliases
    assert stack.environment("billing")["BASE_URL"] == f"http://{told['SANDBOX_CALLBACK_HOSTS']}:8080"
    source = "".join(file.read_text() for file in (ROOT / "deploy" / "sandbox_payments").glob("*.py"))
    read = set(re.findall(r"""environ(?:\.get\(|\[)"(\w+)\"""", source))
    assert told.keys() <= read
    assert set(re.findall(r"""environ\["(\w+)"\]""", source)) <= told.keys()


def test_migrations_and_the_database_set_up_are_told_what_they_read(stack: Stack) -> None:
    owners = {f"{service}_OWNER_PASSWORD".upper() for service in SERVICES}
    assert stack.environment("migrations").keys() == {"POSTGRES_HOST", "KAFKA_BOOTSTRAP"} | owners
    roles = {f"{service}_{role}_PASSWORD".upper() for service in SERVICES for role in ("owner", "app", "worker")}
    told = {name for name in stack.environment("postgres") if not name.startswith("POSTGRES_")}
    assert told == roles
    for script in ("databases.sh", "migrate.sh"):
        assert f"for service in {' '.join(SERVICES)}; do" in (FOLDER / script).read_text()


def test_every_variable_is_a_made_secret_or_has_a_default(stack: Stack) -> None:
    for name, kind, _ in _VARIABLE.findall(stack.text):
        assert (kind == "?") == (name in stack.given), f"{name} is written ${{{name}:{kind}…}}"
    used = {name for name, _, _ in _VARIABLE.findall(stack.text)}
    assert stack.given.keys() <= used, "a secret is made that nobody reads"


def test_no_secret_stands_in_the_file(stack: Stack) -> None:
    for name, service in stack.services.items():
        for key, value in service.get("environment", {}).items():
            if _LOOKS_SECRET.search(key):
                assert re.fullmatch(r"\$\{\w+:(\?[^}]+|-)\}", value), f"{name}: {key}"
            assert not re.search(r"://[^/$@]*:[^$@]+@", value), f"{name}: {key} holds a password"


def test_secrets_are_private_kept_and_added_to(tmp_path: Path) -> None:
    folder = tmp_path / "compose"
    make_secrets(folder)
    file = folder / "environment"
    before = [line for line in file.read_text().splitlines() if not line.startswith("SIGNING_SECRET=")]
    file.write_text("\n".join([*before, "# ours", "BASE_URL=https://files.test"]) + "\n")
    key = (folder / "jwt.pem").read_bytes()
    make_secrets(folder)
    after = file.read_text().splitlines()
    assert after[: len(before)] == before
    assert {"# ours", "BASE_URL=https://files.test"} <= set(after)
    assert any(line.startswith("SIGNING_SECRET=") for line in after)
    assert (folder / "jwt.pem").read_bytes() == key
    assert not file.stat().st_mode & 0o077
    assert not folder.stat().st_mode & 0o077


def test_images_are_pinned(stack: Stack) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name, service in stack.services.items():
        _, _, tag = service["image"].partition(":")
        assert re.match(r"v?\d+\.\d+", tag), f"{name}: {service['image']}"
        if service["image"].startswith("stowage"):
            assert tag == version
            assert service["pull_policy"] in {"build", "never"}, name
    assert sum("build" in service for service in stack.services.values()) == 1


def test_nothing_waits_for_what_is_not_there(stack: Stack) -> None:
    for name, service in stack.services.items():
        depends = service.get("depends_on", [])
        assert set(depends) <= stack.services.keys(), name
        if isinstance(depends, dict):
            for other, how in depends.items():
                if how["condition"] == "service_healthy":
                    assert "test" in stack.services[other]["healthcheck"], f"{name} waits for {other} in vain"
    for service in ours(stack):
        assert stack.services[service]["depends_on"] == {"migrations": {"condition": "service_completed_successfully"}}


def test_mounted_files_and_named_volumes_exist(stack: Stack) -> None:
    document = yaml.safe_load(stack.text)
    for name, service in stack.services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            exists = (ROOT / source).is_file() if source.startswith(".") else source in document["volumes"]
            assert exists, f"{name}: {volume}"
        assert set(service.get("secrets", [])) <= document["secrets"].keys(), name
    assert os.access(FOLDER / "databases.sh", os.X_OK)  # else PostgreSQL's start script reads it into itself


def test_a_scanner_for_whoever_wants_one(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a profile and one setting, which both processes read; nothing is called clean unseen."""
    scanner = stack.services["clamd"]
    assert scanner["profiles"] == ["scan"]
    assert "ports" not in scanner
    assert not any("clamd" in service.get("depends_on", []) for service in stack.services.values())
    written = (FOLDER / "clamd.conf").read_text()
    told = dict(line.split(" ", 1) for line in written.splitlines() if not line.startswith("#"))
    for service in ("upload", "upload-worker"):
        environment = stack.environment(service)
        assert environment["CLAMAV_URL"] == "", "off, unless somebody wants it"
        only({**environment, "CLAMAV_URL": f"tcp://clamd:{told['TCPSocket']}"}, monkeypatch)
        limit = load(settings_of(module_of(stack, service))).scan_size_limit  # type: ignore[attr-defined]
        for name in ("StreamMaxLength", "MaxFileSize", "MaxScanSize"):
            assert int(told[name].removesuffix("M")) * 1024**2 >= limit, name
    assert told["AlertExceedsMax"] == "yes"
    assert f"CLAMAV_URL=tcp://clamd:{told['TCPSocket']}" in (ROOT / "docs" / "operations.md").read_text()


def test_every_process_of_the_embedded_stack_has_a_counterpart(stack: Stack) -> None:
    modules = {module_of(stack, name): name for name in stack.services}
    for service in SERVICES:
        assert modules[f"services.{service}.main"] == service
        assert modules[f"services.{service}.worker"] == f"{service}-worker"
    assert "deploy.sandbox_payments" in modules
    for port in parts.PORTS:
        known = STANDS_FOR.get({"smtp": "console", "kafka_controller": "kafka"}.get(port, port))
        assert (known or {port.replace(":", "-")}) <= stack.services.keys(), port


def test_only_doors_for_people_are_published_and_on_this_host_alone(stack: Stack) -> None:
    published = {name: service["ports"] for name, service in stack.services.items() if "ports" in service}
    assert published.keys() == PUBLISHED
    for name, ports in published.items():
        assert all(port.startswith("127.0.0.1:") for port in ports), name


def test_containers_are_bounded(stack: Stack) -> None:
    for name, service in stack.services.items():
        assert {"mem_limit", "pids_limit", "restart", "logging"} <= service.keys(), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    for name in [*ours(stack), "payments", "migrations"]:
        assert stack.services[name]["read_only"], name
        assert stack.services[name]["cap_drop"] == ["ALL"], name


def test_prometheus_asks_every_process(stack: Stack) -> None:
    told = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    targets = {target for job in told["scrape_configs"] for s in job["static_configs"] for target in s["targets"]}
    assert targets == {f"{name}:8080" for name in ours(stack)}


def test_alerts_are_of_metrics_there_are_and_in_the_manual() -> None:
    told = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    assert told["rule_files"] == ["alerts.yaml"]
    assert "./deploy/docker/alerts.yaml:/etc/prometheus/alerts.yaml:ro" in COMPOSE.read_text()
    manual = (ROOT / "docs" / "operations.md").read_text()
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    said = {rule["expr"] for rule in rules}
    # What the counters are proved by: each of these is 0, or somebody has to look.
    assert said >= {
        "stowage_usage_drift_tenants > 0",
        "stowage_usage_ahead_tenants > 0",
        "increase(stowage_usage_sweep_findings_total[1d]) > 0",
        'increase(stowage_usage_calculations_total{outcome!="done"}[1d]) > 0',
    }
    for rule in rules:
        assert f"`{rule['expr']}`" in manual, rule["alert"]


def test_the_manual_knows_every_setting_and_every_metric() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text()
    named = set(re.findall(r"`([A-Z0-9_]+)`", manual))
    for service in SERVICES:
        assert {name.upper() for name in settings_of(f"services.{service}.main").model_fields} <= named, service
    source = "".join(file.read_text() for part in ("services", "shared") for file in (ROOT / part).rglob("*.py"))
    metrics = set(re.findall(r"""(?:Counter|Gauge|Histogram|Summary)\(\s*"(\w+)\"""", source))
    ends = "total|seconds|leading|waiting|ready|bytes|tenants|files|teams|ratio|recurring|payments|method|owed"
    assert metrics == set(re.findall(rf"\bstowage_[a-z_]+_(?:{ends})\b", manual))


def test_what_the_environment_file_may_set_is_in_the_manual(stack: Stack) -> None:
    manual = (ROOT / "docs" / "operations.md").read_text()
    optional = {name for name, kind, _ in _VARIABLE.findall(stack.text) if kind == "-"}
    assert {name for name in optional if f"`{name}`" not in manual} == set()


def test_the_image_copies_what_exists_and_nothing_kept_out() -> None:
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    copied = [source for line in lines if line.startswith("COPY ") for source in sources(line)]
    let_in = {
        line.removeprefix("!") for line in (FOLDER / "Dockerfile.dockerignore").read_text().split() if line[0] == "!"
    }
    assert copied
    assert set(copied) == let_in
    assert all((ROOT / source).exists() for source in copied)
    user = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert user
    assert user[-1] not in {"root", "0"}
    assert any("--require-hashes" in line for line in lines)
    assert not any("://" in line or "index" in line for line in lines)
    assert all(re.search(r":\d", line) for line in lines if line.startswith("FROM "))


def sources(line: str) -> Iterator[str]:
    """Of a COPY out of the repository; one from another stage has none."""
    words = line.split()[1:]
    if not any(word.startswith("--from=") for word in words):
        yield from (word for word in words[:-1] if not word.startswith("--"))
