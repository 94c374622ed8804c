"""Spans by OTLP/HTTP, kept in memory: the newest traces, whole."""

from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACES = 5_000  # kept; the oldest go first
SPANS = 2_000  # of one trace

_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")


@dataclass(frozen=True, slots=True)
class Span:
    """`start` and `end` in nanoseconds since the epoch."""

    span_id: str
    parent_id: str | None
    name: str
    service: str
    kind: str
    start: int
    end: int
    status: str
    attributes: dict[str, Any] = field(default_factory=dict)


class TraceStore:
    def __init__(self) -> None:
        self._traces: OrderedDict[str, dict[str, Span]] = OrderedDict()

    def add(self, payload: bytes) -> int:
        """Takes one export request; returns how many spans it brought. Raises DecodeError."""
        request = ExportTraceServiceRequest.FromString(payload)
        count = 0
        for resource in request.resource_spans:
            service = _attributes(resource.resource.attributes).get("service.name", "unknown")
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self._keep(span.trace_id.hex(), _span(span, str(service)))
                    count += 1
        return count

    def get(self, trace_id: str) -> list[Span] | None:
        """The trace's spans by start, or None when it is not known."""
        found = self._traces.get(trace_id)
        return None if found is None else sorted(found.values(), key=lambda span: (span.start, span.end))

    def newest(self, limit: int = 100) -> list[dict[str, Any]]:
        summaries = []
        for trace_id in list(reversed(self._traces))[:limit]:
            spans = self.get(trace_id) or []
            start, end = min(span.start for span in spans), max(span.end for span in spans)
            summaries.append(
                {
                    "trace_id": trace_id,
                    "name": spans[0].name,
                    "services": list(dict.fromkeys(span.service for span in spans)),
                    "spans": len(spans),
                    "start": start,
                    "milliseconds": (end - start) / 1e6,
                    "error": any(span.status == "error" for span in spans),
                }
            )
        return summaries

    def _keep(self, trace_id: str, span: Span) -> None:
        spans = self._traces.setdefault(trace_id, {})
        if len(spans) < SPANS:
            spans[span.span_id] = span
        while len(self._traces) > TRACES:
            self._traces.popitem(last=False)


def as_json(spans: list[Span]) -> list[dict[str, Any]]:
    return [asdict(span) for span in spans]


def _span(span: Any, service: str) -> Span:
    return Span(
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() or None,
        name=span.name,
        service=service,
        kind=_KINDS[span.kind] if span.kind < len(_KINDS) else "unspecified",
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        status="error" if span.status.code == 2 else "ok",
        attributes=_attributes(span.attributes),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    found = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind) if kind else None
        found[pair.key] = value if isinstance(value, str | int | float | bool) or value is None else str(value)
    return found
