"""The collector's side of the Engine API, over real sockets."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from services.usage.disk.engine import NEWEST, DockerEngine, EngineUnavailable
from services.usage.disk.rules import Image, Volume
from tests.services.usage.disk.engines import Engine, image, labels, volume

OURS = labels("t", "p")
LOCAL = Path("/var/run/docker.sock")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: a socket's path may have 107 characters. Anybody may pass through it."""
    with TemporaryDirectory(prefix="stowage-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def refusal(url: str, **options: float) -> EngineUnavailable:
    with pytest.raises(EngineUnavailable) as caught:
        await DockerEngine(url, **options).read()  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("theirs", "spoken", "query"),
    [
        ("1.25", "1.25", ""),
        ("1.41", "1.41", ""),
        ("1.42", "1.42", "?type=image&type=volume"),
        ("1.51", "1.51", "?type=image&type=volume"),
        ("1.52", "1.52", "?type=image&type=volume&verbose=1"),
        ("1.60", "1.52", "?type=image&type=volume&verbose=1"),
        ("2.0", "1.52", "?type=image&type=volume&verbose=1"),
    ],
)
async def test_the_lower_version_is_spoken(folder: Path, theirs: str, spoken: str, query: str) -> None:
    engine = Engine(version=theirs, volumes=[volume(5, OURS)], images=[image(9, 4, OURS)])
    async with engine.at(folder / "s") as url:
        report = await DockerEngine(url).read()
    assert engine.asked == ["/_ping", f"/v{spoken}/system/df{query}"]
    assert (report.engine, report.api) == ("Docker/27.3.1 (linux)", spoken)
    assert (report.volumes, report.images) == ([Volume(5, OURS)], [Image(9, 4, OURS)])


@pytest.mark.parametrize("version", ["1.25", "1.45", "1.52"])
async def test_fields_that_are_missing_or_null(folder: Path, version: str) -> None:
    engine = Engine(version=version, volumes=None, images=None)
    async with engine.at(folder / "s") as url:
        nothing = await DockerEngine(url).read()
        engine.volumes, engine.images = [volume(-1), volume(None), volume(0, {})], [image(3, -1), image(4, None)]
        little = await DockerEngine(url).read()
    assert (nothing.volumes, nothing.images) == ([], [])
    assert little.volumes == [Volume(None), Volume(None), Volume(0)]
    assert little.images == [Image(3, None), Image(4, None)]


async def test_over_tcp(folder: Path) -> None:
    engine = Engine(volumes=[volume(5)])
    async with engine.on_tcp() as url:
        assert (await DockerEngine(url).read()).volumes == [Volume(5)]
        assert (await DockerEngine(url.replace("tcp:", "http:") + "/").read()).volumes == [Volume(5)]
    assert (await refusal(url)).reason == "absent"
    assert (await refusal(f"unix://{folder}/none")).reason == "absent"


@pytest.mark.parametrize(
    ("trouble", "reason", "told"),
    [
        ("500", "status", "answered 500 a disk usage operation is already running"),
        ("403", "status", "answered 403"),
        ("moved", "status", "answered 307"),
        ("garbage", "unreadable", "/system/df"),
        ("other", "unreadable", "Images Field required"),
        ("cut", "broken", ""),
        ("huge", "too_large", "more than 200000 bytes"),
        ("hang", "timeout", "no answer in 0.2 s"),
    ],
)
async def test_trouble(folder: Path, trouble: str, reason: str, told: str) -> None:
    engine = Engine(trouble=trouble)
    async with engine.at(folder / "s") as url:
        error = await refusal(url, patience=0.2 if trouble == "hang" else 10, limit=200_000)
    assert error.reason == reason
    assert told in str(error)
    assert str(error).isprintable()


@pytest.mark.parametrize(
    ("version", "reason"), [("1.24", "too_old"), ("0.9", "too_old"), (None, "unreadable"), ("new", "unreadable")]
)
async def test_versions_nobody_knows(folder: Path, version: str | None, reason: str) -> None:
    engine = Engine(version=version)
    async with engine.at(folder / "s") as url:
        assert (await refusal(url)).reason == reason
    assert engine.asked == ["/_ping"], "nothing else is tried"


async def test_an_engine_that_is_too_new_for_us(folder: Path) -> None:
    async with Engine(version="1.99", oldest="1.90").at(folder / "s") as url:
        error = await refusal(url)
    assert error.reason == "status"
    assert "Minimum supported API version is 1.90" in str(error)


async def test_a_size_no_disk_has(folder: Path) -> None:
    async with Engine(volumes=[volume(2**63)]).at(folder / "s") as url:
        assert (await refusal(url)).reason == "unreadable"


async def test_a_socket_that_is_not_for_us(folder: Path) -> None:
    async with Engine().at(folder / "s") as url:
        (folder / "s").chmod(0o000)
        with powerless():
            assert (await refusal(url)).reason == "denied"


async def test_a_socket_nobody_serves_any_more(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "s"))
    assert (await refusal(f"unix://{folder}/s")).reason == "absent"


@contextmanager
def powerless() -> Iterator[None]:
    """As somebody who is not root, who may do everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def local_engine() -> str:
    """Where an engine may answer on this machine, if one does."""
    told = os.environ.get("DOCKER_HOST")
    if told and told.startswith(("unix://", "tcp://")):
        return told
    if LOCAL.exists() and stat.S_ISSOCK(LOCAL.stat().st_mode):
        return f"unix://{LOCAL}"
    pytest.skip(f"no Docker Engine here: DOCKER_HOST names none, and there is no {LOCAL}")


async def test_a_real_engine() -> None:
    report = await DockerEngine(local_engine()).read()
    assert tuple(map(int, report.api.split("."))) <= NEWEST
    assert all(image.size is not None for image in report.images)
