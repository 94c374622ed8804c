"""Kafka as Stowage uses it: at least once on the wire, exactly once in effect."""

from shared.kafka.consumer import EventConsumer
from shared.kafka.records import Record, Topic

__all__ = ["EventConsumer", "Record", "Topic"]
