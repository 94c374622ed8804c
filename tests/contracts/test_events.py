"""The golden bodies: what was published once must be readable for ever."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.events import COMPACTED, EVENTS, TOPICS, TenantEvent, UnknownEventType, asyncapi, decode

GOLDEN = Path(__file__).parent / "events"
# Fields younger than the first bodies of their event. Nothing else may have a default: it would hide missing data.
LATER = {name: {"folder", "version_of", "trashed", "kept", "reverted"} for name in EVENTS if name.startswith("file.")}
LATER["file.stored"] |= {"image_month"}
LATER["file.replaced"] |= {"image_month"}
LATER |= {name: {"amount", "hard", "channels"} for name in EVENTS if name.startswith("threshold.")}
LATER |= {name: {"members", "projects"} for name, event in EVENTS.items() if event.topic == "tenants.v1"}
LATER["subscription.changed"] = {"lower", "unpaid", "trial", "trial_ends_at"}
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


def test_an_entitlement_sold_later_is_no_error() -> None:
    golden = json.loads((GOLDEN / "entitlements.changed.json").read_text())
    golden["entitlements"]["invented_later"] = 1
    assert decode("entitlements.changed", json.dumps(golden)).type == "entitlements.changed"


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


def test_whatever_happens_to_a_tenant_tells_its_whole_state() -> None:
    """The topic is compacted: a consumer may see nothing but the newest record."""
    for event in EVENTS.values():
        assert issubclass(event, TenantEvent) == (event.topic == "tenants.v1")


def test_older_bodies_of_a_tenant_had_its_owner_and_no_projects() -> None:
    golden = json.loads((GOLDEN / "tenant.created.json").read_text())
    old = decode("tenant.created", json.dumps({k: v for k, v in golden.items() if k not in LATER["tenant.created"]}))
    assert isinstance(old, TenantEvent)
    assert (old.members, old.projects) == (1, 0)
