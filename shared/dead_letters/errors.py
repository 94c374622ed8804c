"""What can go wrong, each with its status, said once."""

from shared.errors import DomainError


class DeadLetterNotFound(DomainError):
    def __init__(self) -> None:
        super().__init__("dead_letter_not_found", 404, "There is no such dead letter.")


class AlreadyResolved(DomainError):
    def __init__(self, state: str) -> None:
        super().__init__("already_resolved", 409, f"This dead letter is {state} already.", state=state)


class NotReplayable(DomainError):
    """Replaying would count a thing twice, or one that never was, or one that does not say what it is."""

    def __init__(self, error: str) -> None:
        super().__init__(
            "not_replayable",
            409,
            "Nothing is missing that this record could bring: it does not say what it is, or its source's own copy "
            "was applied in its place, or its source never wrote it. Discard it.",
            error=error,
        )
