"""Spans and the W3C `traceparent` that carries them from one process to the next."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from opentelemetry.util.types import AttributeValue

tracer = trace.get_tracer("stowage")

_FORM = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def is_sampled(traceparent: str) -> bool:
    return bool(_parse(traceparent).trace_flags.sampled)


def traceparent_of(current: Span) -> str | None:
    """`00-<trace>-<span>-<flags>`, or None outside any trace."""
    context = current.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def current_traceparent() -> str | None:
    return traceparent_of(trace.get_current_span())


@contextmanager
def span(
    name: str,
    *,
    parent: str | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Iterator[Span]:
    """A span below `parent` (a traceparent), or below the current span."""
    context = None if parent is None else trace.set_span_in_context(NonRecordingSpan(_parse(parent)))
    with tracer.start_as_current_span(name, context=context, kind=kind, attributes=attributes) as current:
        yield current


def _parse(traceparent: str) -> SpanContext:
    """An unreadable one gives an invalid context: the span starts a trace of its own."""
    found = _FORM.fullmatch(traceparent)
    if found is None:
        return SpanContext(0, 0, is_remote=True)
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
