"""Where spans and logs go. Nothing here may slow or break the work it watches."""

import json
import logging
import sys
import threading
import time
import warnings

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from shared.settings import ServiceSettings

LAST_WORDS = 2.0  # seconds

_provider: TracerProvider | None = None


def setup(settings: ServiceSettings, *, worker: bool = False) -> None:
    """Once a process. Spans go to OTEL_EXPORTER_OTLP_ENDPOINT and to the stack's own page, whichever are set."""
    global _provider  # noqa: PLW0603 - OpenTelemetry's provider is the process's
    name = f"{settings.service_name}:worker" if worker else settings.service_name
    _log(name, settings.log_level)
    targets = [t for t in (settings.otel_exporter_otlp_endpoint, settings.local_traces_url) if t]
    if not targets:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    sampler = ParentBased(TraceIdRatioBased(settings.sampling))
    _provider = TracerProvider(
        resource=Resource.create({"service.name": name}), sampler=sampler, shutdown_on_exit=False
    )
    for target in targets:
        exporter = OTLPSpanExporter(endpoint=f"{target.rstrip('/')}/v1/traces", timeout=5)
        _provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    trace.set_tracer_provider(_provider)
    # A trace back end that is away costs its traces, not a line a second.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)


def shutdown() -> None:
    """Sends what is left, for as long as LAST_WORDS: a back end that is away must not hold up the end."""
    if _provider is not None:
        last = threading.Thread(target=_provider.shutdown, daemon=True)
        last.start()
        last.join(LAST_WORDS)


def _log(service: str, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(service))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    for noisy in ("aiokafka", "uvicorn.error", "faststream", "asyncio", "mail.log", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _JsonFormatter(logging.Formatter):
    """One JSON object a line, with the trace it belongs to."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        context = trace.get_current_span().get_span_context()
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if context.is_valid:
            line |= {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
