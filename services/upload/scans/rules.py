"""What a scanner's answer means, and what becomes of the file. Pure."""

from dataclasses import dataclass
from typing import Literal

from services.upload.quota.changes import Fate

VerdictName = Literal["clean", "infected", "too_large"]

# What clamd says, with AlertExceedsMax, of files and archives it has not looked through to the end.
_LIMITS = "Heuristics.Limits.Exceeded"


class AnswerUnclear(ValueError):
    """An error, or nothing that a scanner says: the file stays hidden."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`signature`: what was found, or which limit was met."""

    name: VerdictName
    signature: str | None = None


def read_answer(answer: bytes) -> Verdict:
    """Of clamd's INSTREAM. Raises AnswerUnclear."""
    text = answer.rstrip(b"\0\n").decode("utf-8", "replace").removeprefix("stream: ")
    if text == "OK":
        return Verdict("clean")
    if text.startswith("INSTREAM size limit exceeded"):
        return Verdict("too_large", "StreamMaxLength")
    if not text.endswith(" FOUND"):
        raise AnswerUnclear(text[:200])
    signature = text.removesuffix(" FOUND")
    return Verdict("too_large" if signature.startswith(_LIMITS) else "infected", signature)


def fate(verdict: Verdict, *, let_large_pass: bool) -> Fate:
    match verdict.name:
        case "clean":
            return "ready"
        case "too_large":
            return "ready" if let_large_pass else "blocked"
        case "infected":
            return "deleted"
