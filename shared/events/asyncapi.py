"""The event contract as an AsyncAPI document: `python -m shared.events.asyncapi > docs/asyncapi.json`."""

import json
import sys
from typing import Any

from shared.events.registry import COMPACTED, EVENTS, TOPICS

_HEADERS = {
    "type": "object",
    "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_tenantseq"],
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "format": "uuid"},
        "ce_source": {"type": "string", "examples": ["/stowage/upload"]},
        "ce_type": {"type": "string"},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": {"type": "string", "format": "uuid", "description": "The tenant"},
        "ce_tenantseq": {"type": "string", "description": "1, 2, 3 … per topic and tenant, without a gap"},
        "traceparent": {"type": "string", "description": "W3C trace context"},
        "content-type": {"const": "application/json"},
    },
}


def document() -> dict[str, Any]:
    """AsyncAPI 3.0: a channel a topic, a message an event type."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Stowage events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 in Kafka's binary mode. The record's key is the tenant's id.",
        },
        "defaultContentType": "application/json",
        "channels": {topic: _channel(topic) for topic in TOPICS},
        "operations": {
            topic.replace(".", "_"): {"action": "send", "channel": {"$ref": f"#/channels/{topic}"}} for topic in TOPICS
        },
        "components": {"messages": {name: _message(name) for name in sorted(EVENTS)}},
    }


def _channel(topic: str) -> dict[str, Any]:
    names = sorted(name for name, event in EVENTS.items() if event.topic == topic)
    return {
        "address": topic,
        "description": "Compacted: the newest record of a tenant is its whole state."
        if topic in COMPACTED
        else "Gapless.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": {"key": {"type": "string", "format": "uuid"}}},
    }


def _message(name: str) -> dict[str, Any]:
    event = EVENTS[name]
    summary = (event.__doc__ or "").strip().split("\n")[0]
    return {"name": name, "summary": summary, "headers": _HEADERS, "payload": event.json_schema()}


def main() -> None:
    json.dump(document(), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
