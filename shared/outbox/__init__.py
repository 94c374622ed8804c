"""State and event in one commit, then to Kafka: append, wake, relay."""

from shared.outbox.append import append, hold
from shared.outbox.relay import Relay
from shared.outbox.stream import Stream
from shared.outbox.wake import Listener, Wake

__all__ = ["Listener", "Relay", "Stream", "Wake", "append", "hold"]
