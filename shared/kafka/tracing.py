"""A span for each sampled record of a batch, in the trace of the request that caused it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from opentelemetry.trace import SpanKind

from shared.kafka.records import Record
from shared.telemetry import is_sampled, span, traceparent_of


@contextmanager
def traced(group: str, records: Sequence[Record]) -> Iterator[None]:
    """Each sampled record's traceparent becomes its consumer span's, so that what follows hangs below it."""
    with ExitStack() as stack:
        for record in records:
            if record.traceparent is not None and is_sampled(record.traceparent):
                current = stack.enter_context(
                    span(f"{record.topic} process {group}", parent=record.traceparent, kind=SpanKind.CONSUMER)
                )
                record.traceparent = traceparent_of(current) or record.traceparent
        yield
