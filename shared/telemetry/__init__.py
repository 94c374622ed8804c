"""Traces, metrics and logs: what a process says about itself."""

from shared.telemetry.setup import setup, shutdown
from shared.telemetry.tracing import current_traceparent, is_sampled, span, traceparent_of

__all__ = ["current_traceparent", "is_sampled", "setup", "shutdown", "span", "traceparent_of"]
