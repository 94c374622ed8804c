"""Ledgers as upload writes them, and the files that are there in the end, kept by an accountant who adds nothing up."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from shared.events import EntitlementsChanged
from shared.kafka.records import Record
from tests.services.usage.samples import (
    KINDS,
    PEOPLE,
    PROJECTS,
    File,
    adjusted,
    deleted,
    granted,
    moved,
    replaced,
    restored,
    stored,
    trashed,
)

SIZES = st.integers(0, 70)
PROJECT = st.none() | st.sampled_from(PROJECTS)
PERSON = st.none() | st.sampled_from(PEOPLE)
NEW = st.builds(File, SIZES, st.sampled_from(KINDS), project=PROJECT, by=PERSON)
STEPS = ["store", "store", "store", "replace", "keep", "move", "trash", "restore", "delete", "limit", "adjust"]


@dataclass
class History:
    entries: list[Record] = field(default_factory=list)
    files: list[File] = field(default_factory=list)

    @property
    def ledger(self) -> list[Record]:
        return [entry for entry in self.entries if not isinstance(entry.event, EntitlementsChanged)]

    def write(self, make: Callable[..., Record], *args: object, **more: object) -> None:
        self.entries.append(make(len(self.ledger) + 1, *args, **more))


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Everything that happens to files, only to files that are there, with changes of the limit in between."""
    history = History()
    for _ in range(draw(st.integers(0, 40))):
        _step(draw, history, draw(st.sampled_from(STEPS)))
    return history


def _step(draw: st.DrawFn, history: History, what: str) -> None:
    if what == "limit":
        version = len(history.entries) - len(history.ledger) + 1
        history.entries.append(granted(version, draw(st.none() | st.integers(0, 120))))
        return
    if what == "adjust":
        _adjust(draw, history)
        return
    if what == "store" or not (fit := [f for f in history.files if _fits(what, f)]):
        new = draw(NEW)
        history.files.append(new)
        history.write(stored, new.size, new.kind, project=new.project, by=new.by)
        return
    file = draw(st.sampled_from(fit))
    history.files.remove(file)
    _change(draw, history, what, file)


def _adjust(draw: st.DrawFn, history: History) -> None:
    """Files that were there, or gone, without an entry; what is done to them later has entries again. Projects,
    people, trash and versions are not what an adjustment speaks of.
    """
    plain = [file for file in history.files if file == File(file.size, file.kind)]
    if draw(st.booleans()) and plain:
        file = draw(st.sampled_from(plain))
        history.files.remove(file)
        history.write(adjusted, -file.size, -1, file.kind)
        return
    file = File(draw(SIZES), draw(st.sampled_from(KINDS)))
    history.files.append(file)
    history.write(adjusted, file.size, 1, file.kind)


def _fits(what: str, file: File) -> bool:
    if what == "delete":
        return True
    return not file.version and file.trashed == (what == "restore")


def _change(draw: st.DrawFn, history: History, what: str, file: File) -> None:
    match what:
        case "delete":
            marks = {"trashed": file.trashed, "version": file.version, "project": file.project, "by": file.by}
            history.write(deleted, file.size, file.kind, **marks)
        case "replace" | "keep":
            after = draw(NEW)
            history.files.append(after)
            history.write(replaced, file, after, kept=what == "keep")
            if what == "keep":
                history.files.append(replace(file, version=True))
                history.write(stored, file.size, file.kind, version=True, project=file.project, by=file.by)
        case "move":
            after = replace(file, kind=draw(st.sampled_from(KINDS)), project=draw(PROJECT))
            history.files.append(after)
            history.write(moved, file, after)
        case "trash" | "restore":
            history.files.append(replace(file, trashed=what == "trash"))
            history.write(trashed if what == "trash" else restored, file)
