"""What the ledger says against what was counted. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from services.usage.counters.correction import Correction
from services.usage.counters.tally import TRASH, VERSIONS, Amount, Hidden
from services.usage.months import Month

Part = Literal["total", "trash", "versions", "kind", "project", "user", "images"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of one tenant at `position`. `key`: file type and category of a kind, the id of a project or user, the
    month of images (2026-11), whose files are those it counts; of trash and versions nothing, or one of the others
    behind its name: `("kind", "image", "avatars")`.
    """

    tenant_id: UUID
    position: int
    part: Part
    key: tuple[str, ...]
    ledger: Amount
    counted: Amount

    @property
    def delta(self) -> Amount:
        return Amount(self.ledger.bytes - self.counted.bytes, self.ledger.files - self.counted.files)

    def document(self) -> dict[str, Any]:
        """As it is kept and shown."""
        return {
            "part": self.part,
            "key": list(self.key),
            "ledger": {"bytes": self.ledger.bytes, "files": self.ledger.files},
            "counters": {"bytes": self.counted.bytes, "files": self.counted.files},
        }


def correct(differences: Iterable[Difference]) -> Correction:
    """Of one tenant."""
    correction = Correction()
    for difference in differences:
        match difference.part:
            case "total":
                correction.total = difference.delta
            case "trash" | "versions" if difference.key:
                _hide(correction.hidden, difference)
            case "trash":
                correction.trashed = difference.delta
            case "versions":
                correction.versions = difference.delta
            case "kind":
                file_type, category = difference.key
                correction.kinds[file_type, category] = difference.delta
            case "project":
                correction.projects[UUID(difference.key[0])] = difference.delta
            case "user":
                correction.users[UUID(difference.key[0])] = difference.delta
            case "images":
                correction.images[Month.read(difference.key[0])] = difference.delta.files
    return correction


def _hide(hidden: Hidden, difference: Difference) -> None:
    part, delta = TRASH if difference.part == "trash" else VERSIONS, difference.delta
    match difference.key:
        case ("kind", file_type, category):
            hidden.add(hidden.kinds, (file_type, category), part, delta.bytes, delta.files)
        case ("project", project):
            hidden.add(hidden.projects, UUID(project), part, delta.bytes, delta.files)
        case ("user", user):
            hidden.add(hidden.users, UUID(user), part, delta.bytes, delta.files)
