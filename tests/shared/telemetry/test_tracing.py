"""Traces from one process to the next, logs that name them, and a back end that may be away."""

import asyncio
import contextlib
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import INVALID_SPAN

from deploy.local.ports import free_port
from shared.telemetry import current_traceparent, is_sampled, span, traceparent_of

ROOT = Path(__file__).parents[3]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"

BEGIN = """
import logging, sys, time
from shared import telemetry
from shared.settings import ServiceSettings

def settings(**told):
    secret = "0123456789abcdef0123456789abcdef-tests"
    fixed = {"database_url": "unused", "kafka_bootstrap": "unused", "internal_secret": secret, "mode": "local"}
    return ServiceSettings(**(fixed | told))

log = logging.getLogger("sample")
"""


@dataclass
class Collector:
    """What an OpenTelemetry back end on the loopback was sent."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    services: set[str] = field(default_factory=set)

    def take(self, body: bytes) -> None:
        for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = {attribute.key: attribute.value.string_value for attribute in sent.resource.attributes}
            self.services.add(told["service.name"])
            for scope in sent.scope_spans:
                self.spans += scope.spans


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()

    async def traces(request: web.Request) -> web.Response:
        collector.take(await request.read())
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", traces)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield collector
    await runner.cleanup()


async def run(program: str, *arguments: str) -> tuple[str, list[dict[str, Any]]]:
    """What a process of its own printed and logged; telemetry is set up once a process."""
    started = await begin(program, *arguments)
    async with asyncio.timeout(30):
        printed, logged = await started.communicate()
    assert started.returncode == 0, logged.decode()
    return printed.decode(), [json.loads(line) for line in logged.decode().splitlines()]


async def begin(program: str, *arguments: str) -> asyncio.subprocess.Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        BEGIN + program,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=inherited,
    )


def test_outside_a_trace_there_is_none() -> None:
    assert current_traceparent() is None
    assert traceparent_of(INVALID_SPAN) is None


def test_what_comes_in_goes_out() -> None:
    with span("work", parent=TRACEPARENT) as current:
        told = current_traceparent()
        assert told == traceparent_of(current)
    assert told is not None
    assert told.split("-")[:2] == ["00", TRACE]
    assert current_traceparent() is None


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True)])
def test_the_lowest_bit_says_whether_it_is_sampled(flags: str, sampled: bool) -> None:
    assert is_sampled(f"00-{TRACE}-{PARENT}-{flags}") is sampled


@example(f"00-{TRACE}-{PARENT}-100")  # flags of three digits
@example("")
@given(st.text(max_size=80) | st.from_regex(r"00-[0-9a-f]{0,40}-[0-9a-f]{0,20}-[0-9a-f]{0,3}", fullmatch=True))
def test_an_unreadable_one_breaks_nothing(text: str) -> None:
    with span("work", parent=text) as current:
        told = traceparent_of(current)
        assert told is None or re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", told)


async def test_spans_reach_the_collector_below_their_parents(collector: Collector) -> None:
    program = """
telemetry.setup(settings(otel_exporter_otlp_endpoint=sys.argv[1] + "/"), worker=True)
with telemetry.span("outer", parent=sys.argv[2], attributes={"tenant": "acme"}):
    print(telemetry.current_traceparent())
    with telemetry.span("inner"):
        pass
with telemetry.span("alone", parent="unreadable"):
    pass
telemetry.shutdown()
"""
    printed, _ = await run(program, collector.url, TRACEPARENT)
    spans = {sent.name: sent for sent in collector.spans}
    outer, inner, alone = spans["outer"], spans["inner"], spans["alone"]
    assert collector.services == {"stowage:worker"}
    assert (outer.trace_id.hex(), outer.parent_span_id.hex()) == (TRACE, PARENT)
    assert (inner.trace_id, inner.parent_span_id) == (outer.trace_id, outer.span_id)
    assert [(attribute.key, attribute.value.string_value) for attribute in outer.attributes] == [("tenant", "acme")]
    assert alone.trace_id.hex() != TRACE
    assert alone.parent_span_id == b""
    version, trace, parent, flags = printed.strip().split("-")
    assert (version, trace, parent, int(flags, 16) & 1) == ("00", TRACE, outer.span_id.hex(), 1)


async def test_the_caller_decides_whether_it_is_sampled_else_the_ratio(collector: Collector) -> None:
    program = """
telemetry.setup(settings(otel_exporter_otlp_endpoint=sys.argv[1], trace_ratio=0))
with telemetry.span("ours"):
    pass
with telemetry.span("theirs", parent=sys.argv[2]):
    pass
telemetry.shutdown()
"""
    await run(program, collector.url, TRACEPARENT)
    assert [sent.name for sent in collector.spans] == ["theirs"]


async def test_a_trace_of_our_own_counts_as_sampled(collector: Collector) -> None:
    program = """
telemetry.setup(settings(otel_exporter_otlp_endpoint=sys.argv[1]))
with telemetry.span("work"):
    print(telemetry.is_sampled(telemetry.current_traceparent()))
telemetry.shutdown()
"""
    printed, _ = await run(program, collector.url)
    assert (printed, [sent.name for sent in collector.spans]) == ("True\n", ["work"])


async def test_both_targets_get_everything(collector: Collector) -> None:
    program = """
telemetry.setup(settings(otel_exporter_otlp_endpoint=sys.argv[1], local_traces_url=sys.argv[1]))
with telemetry.span("work"):
    pass
telemetry.shutdown()
"""
    await run(program, collector.url)
    assert [sent.name for sent in collector.spans] == ["work", "work"]


async def test_a_log_line_is_json_and_names_its_trace(collector: Collector) -> None:
    program = """
telemetry.setup(settings(otel_exporter_otlp_endpoint=sys.argv[1]))
log.info("before")
with telemetry.span("work", parent=sys.argv[2]) as current:
    log.warning('a "quoted" %s\\nof Zoë', "word")
    print(telemetry.current_traceparent())
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
log.debug("not at this level")
telemetry.shutdown()
"""
    printed, (before, within, failed) = await run(program, collector.url, TRACEPARENT)
    assert "trace_id" not in before
    assert (within["trace_id"], within["span_id"]) == tuple(printed.split("-")[1:3])
    assert within["trace_id"] == TRACE
    assert (within["level"], within["service"], within["logger"]) == ("WARNING", "stowage", "sample")
    assert within["message"] == 'a "quoted" word\nof Zoë'
    assert "ZeroDivisionError" in failed["exception"]
    assert failed["trace_id"] == TRACE
    assert abs(datetime.now(UTC) - datetime.fromisoformat(before["time"])) < timedelta(seconds=30)


async def test_logs_need_no_collector() -> None:
    program = """
telemetry.setup(settings())
with telemetry.span("work", parent=sys.argv[1]):
    log.info("here")
telemetry.shutdown()
"""
    _, (line,) = await run(program, TRACEPARENT)
    assert (line["message"], line["trace_id"]) == ("here", TRACE)


async def test_a_request_goes_on_in_its_callers_trace(collector: Collector) -> None:
    program = """
from fastapi import APIRouter
from shared.http import create_app, serve
router = APIRouter()

@router.get("/here")
async def here():
    log.info("asked")
    return telemetry.current_traceparent()

told = settings(port=int(sys.argv[1]), local_traces_url=sys.argv[2])
serve(lambda s: create_app(s, title="Sample", routers=[router], public=True), told)
"""
    port = free_port()
    started = await begin(program, str(port), collector.url)
    try:
        headers = {"traceparent": TRACEPARENT}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as http:
            await answering(http)
            async with http.get("/here") as answer:
                here = await answer.json()
            async with http.get("/nowhere") as answer:
                problem = json.loads(await answer.read())
        started.terminate()
        _, logged = await asyncio.wait_for(started.communicate(), 20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
    assert here.split("-")[1] == problem["trace_id"] == TRACE
    (line,) = [told for told in map(json.loads, logged.decode().splitlines()) if told["message"] == "asked"]
    assert line["trace_id"] == TRACE
    # One span for each request, none for the questions after its health.
    assert {(sent.trace_id.hex(), sent.parent_span_id.hex()) for sent in collector.spans} == {(TRACE, PARENT)}
    assert len(collector.spans) == 2
    assert here.split("-")[2] in {sent.span_id.hex() for sent in collector.spans}


async def answering(http: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with http.get("/healthz"):
                    return
            await asyncio.sleep(0.05)


@pytest.fixture(params=["closed", "silent"])
def away(request: pytest.FixtureRequest) -> Iterator[str]:
    """A back end that refuses connections, or takes them and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listener.listen(16)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_a_back_end_that_is_away_neither_slows_nor_breaks(away: str) -> None:
    program = """
def timed(work):
    since = time.monotonic()
    work()
    return time.monotonic() - since

def spans():
    for number in range(5000):
        with telemetry.span(f"work {number}"):
            pass

told = settings(otel_exporter_otlp_endpoint=sys.argv[1])
set_up = timed(lambda: telemetry.setup(told))
first = timed(spans)
time.sleep(1.5)  # the exporter is at work by now
second = timed(spans)
log.info("alive")
print(set_up, max(first, second), timed(telemetry.shutdown))
"""
    printed, logged = await run(program, away)
    set_up, work, shutdown = map(float, printed.split())
    assert set_up < 3
    assert work < 2
    assert shutdown < 5
    # Not a word about lost traces either.
    assert [line["message"] for line in logged] == ["alive"]
