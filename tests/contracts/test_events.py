"""The golden bodies: what was published once must be readable for ever."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.events import COMPACTED, EVENTS, TOPICS, UnknownEventType, asyncapi, decode

GOLDEN = Path(__file__).parent / "events"
# Fields younger than the first bodies of their event. Nothing else may have a default: it would hide missing data.
LATER = {name: {"folder", "version_of", "trashed", "kept", "reverted"} for name in EVENTS if name.startswith("file.")}
LATER["file.stored"] |= {"image_month"}
LATER["file.replaced"] |= {"image_month"}
LATER |= {name: {"amount", "hard", "channels"} for name in EVENTS if name.startswith("threshold.")}
LATER |= {name: {"purpose", "subject"} for name in EVENTS if name.startswith("payment.")}
DOCUMENT = Path(__file__).parents[2] / "docs" / "asyncapi.json"


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_golden_body_reads_and_writes_the_same(name: str) -> None:
    golden = (GOLDEN / f"{name}.json").read_text()
    event = decode(name, golden)
    assert json.loads(event.body()) == json.loads(golden)
    assert event.type == name
    assert event.topic in TOPICS


def test_every_golden_body_has_its_event() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(EVENTS)


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_each_field_is_needed(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    for field in set(golden) - LATER.get(name, set()):
        with pytest.raises(ValidationError):
            decode(name, json.dumps({k: v for k, v in golden.items() if k != field}))


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_a_newer_field_is_no_error(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    assert decode(name, json.dumps({**golden, "invented_later": 1})).type == name


def test_unknown_type() -> None:
    with pytest.raises(UnknownEventType):
        decode("file.invented", "{}")


def test_events_are_frozen() -> None:
    event = decode("file.stored", (GOLDEN / "file.stored.json").read_text())
    with pytest.raises(ValidationError):
        event.tenant_id = None  # type: ignore[misc, assignment]


def test_the_committed_document_is_the_code() -> None:
    assert json.loads(DOCUMENT.read_text()) == json.loads(json.dumps(asyncapi.document()))


def test_compacted_topics_exist() -> None:
    assert set(TOPICS) >= COMPACTED
