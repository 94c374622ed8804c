"""Server-sent events on the wire. Pure."""

import json
from typing import Any

HEARTBEAT = b": still here\n\n"
RETRY = b"retry: 2000\n\n"  # milliseconds before a browser connects again


def frame(event: str, data: Any, event_id: str | None = None) -> bytes:
    """One event; the data is JSON and therefore holds no line break."""
    lines = [f"event: {event}"]
    if event_id is not None:
        lines.append(f"id: {event_id}")
    lines.append(f"data: {json.dumps(data, separators=(',', ':'), default=str)}")
    return ("\n".join(lines) + "\n\n").encode()
