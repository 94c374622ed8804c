"""The client against the real daemon, and against one that misbehaves."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.upload.scans import clamav
from services.upload.scans.clamav import ClamAV, ScannerUnavailable
from services.upload.scans.rules import AnswerUnclear, Verdict, fate, read_answer
from tests.services.upload.scans.daemon import EICAR, SIGNATURE, STREAM_LIMIT, Clamd, Script, StandIn, pieces

MIB = 1024**2


async def content(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(0)


def zeros(mib: int) -> list[bytes]:
    return [bytes(MIB)] * mib


@pytest.fixture(scope="module")
def daemon(clamd: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clamd]:
    found = Clamd(clamd, tmp_path_factory.mktemp("clamd"))
    found.start()
    yield found
    found.stop()


async def scan(url: str, *parts: bytes, limit: int = 2**40) -> Verdict:
    return await ClamAV(url, limit).scan(content(*parts), sum(map(len, parts)))


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"stream: OK\0", Verdict("clean")),
        (b"stream: Eicar-Signature FOUND\0", Verdict("infected", "Eicar-Signature")),
        (
            b"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0",
            Verdict("too_large", "Heuristics.Limits.Exceeded.MaxFileSize"),
        ),
        (b"INSTREAM size limit exceeded. ERROR\0", Verdict("too_large", "StreamMaxLength")),
    ],
)
def test_answers(answer: bytes, verdict: Verdict) -> None:
    assert read_answer(answer) == verdict


@pytest.mark.parametrize(
    "answer", [b"", b"\0", b"stream: Can't allocate memory ERROR\0", b"OK?\0", b"\xff\0", b"stream: O"]
)
def test_anything_else_is_not_clean(answer: bytes) -> None:
    with pytest.raises(AnswerUnclear):
        read_answer(answer)


def test_fates() -> None:
    assert fate(Verdict("clean"), let_large_pass=False) == "ready"
    assert fate(Verdict("too_large"), let_large_pass=False) == "blocked"
    assert fate(Verdict("too_large"), let_large_pass=True) == "ready"
    assert fate(Verdict("infected"), let_large_pass=True) == "deleted"


async def test_the_real_daemon(daemon: Clamd) -> None:
    assert (await scan(daemon.url, b"harmless")).name == "clean"
    assert (await scan(daemon.url)).name == "clean"
    found = await scan(daemon.url, EICAR)
    assert (found.name, found.signature) == ("infected", f"{SIGNATURE}.UNOFFICIAL")
    # Cut in two, deep inside 30 MB.
    parts = [*zeros(20), bytes(77) + EICAR[:30], EICAR[30:] + bytes(5), *zeros(9)]
    assert (await scan(daemon.url, *parts)).name == "infected"
    assert (await scan(daemon.url, *zeros(30))).name == "clean"


async def test_what_the_real_daemon_does_not_take_is_not_clean(daemon: Clamd) -> None:
    """Told a limit that is too high, the daemon itself says so, or hangs up: never "clean"."""
    try:
        verdict = await scan(daemon.url, *zeros(STREAM_LIMIT // MIB + 8))
    except ScannerUnavailable:
        return
    assert verdict == Verdict("too_large", "StreamMaxLength")


async def test_a_file_above_the_limit_is_not_even_read() -> None:
    read = False

    async def never() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b""

    assert (await ClamAV("tcp://127.0.0.1:1", 99).scan(never(), 100)).name == "too_large"
    assert not read


async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(1000)
    writer.write(b"INSTREAM size limit exceeded. ERROR\0")
    await writer.drain()
    await asyncio.sleep(0.2)


async def error(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await pieces(reader)
    writer.write(b"INSTREAM: Can't write to temporary file. ERROR\0")


async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.readexactly(100_000)


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await pieces(reader)
    writer.write(b"stream: O")


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await pieces(reader)
    await asyncio.sleep(3)


@pytest.mark.parametrize("script", [error, hang_up, half, silence])
async def test_trouble_is_never_clean(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clamav, "PATIENCE", 0.5)
    async with StandIn(script) as stand_in:
        with pytest.raises(ScannerUnavailable):
            await scan(stand_in.url, *[b"x" * 1000] * 300)


async def test_an_early_answer_is_heard() -> None:
    async with StandIn(answer_early) as stand_in:
        assert (await scan(stand_in.url, *zeros(30))).name == "too_large"


async def test_a_daemon_that_is_away() -> None:
    with pytest.raises(ScannerUnavailable):
        await scan("tcp://127.0.0.1:1", b"x")


async def test_the_store_is_read_as_the_scanner_takes() -> None:
    """Memory stays flat: what is not taken is not read."""
    taken = asyncio.Event()
    given = 0

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        taken.set()
        await pieces(reader)
        writer.write(b"stream: OK\0")

    async def counted() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(64):
            given += 1
            yield bytes(MIB)

    async with StandIn(slow) as stand_in:
        scanning = asyncio.create_task(ClamAV(stand_in.url, 2**40).scan(counted(), 64 * MIB))
        await taken.wait()
        assert given < 16  # what the system keeps for a connection
        assert (await scanning).name == "clean"
    assert given == 64
