"""What a direct upload is refused for."""

from shared.errors import DomainError


class DirectUploadNotFound(DomainError):
    """Also for another tenant's, and for one that ended long ago."""

    def __init__(self) -> None:
        super().__init__("direct_upload_not_found", 404, "There is no such direct upload.")


class DirectUploadEnded(DomainError):
    def __init__(self, state: str) -> None:
        super().__init__("direct_upload_ended", 409, f"The direct upload is {state}.", state=state)


class CompletionInProgress(DomainError):
    def __init__(self) -> None:
        super().__init__("completion_in_progress", 409, "The upload is being completed.")


class NotUploaded(DomainError):
    """It stays open: the bytes may still come."""

    def __init__(self) -> None:
        super().__init__("not_uploaded", 409, "The store has no bytes of this upload yet.")


class SizeMismatch(DomainError):
    """More came than was announced. Nothing of it is kept."""

    def __init__(self, announced: int, found: int) -> None:
        detail = f"{announced} bytes were announced, {found} were sent."
        super().__init__("size_mismatch", 422, detail, announced=announced, found=found)


class SizeUnknown(DomainError):
    def __init__(self) -> None:
        super().__init__("size_unknown", 422, "Say the file's size in bytes in its metadata, or upload it in parts.")


class PartsMissing(DomainError):
    """It stays open: the parts may still come."""

    def __init__(self, numbers: list[int]) -> None:
        super().__init__("parts_missing", 409, "The store has not these parts as they were listed.", parts=numbers)


class PartsChanged(DomainError):
    def __init__(self) -> None:
        super().__init__("parts_changed", 409, "Parts were sent again while the upload was completed; try again.")


class PartTooSmall(DomainError):
    def __init__(self) -> None:
        super().__init__("part_too_small", 422, "Every part but the last has at least 5 MiB.")


class NotInParts(DomainError):
    def __init__(self) -> None:
        super().__init__("not_in_parts", 409, "This upload was not offered in parts.")


class BackendUnsupported(DomainError):
    """The tenant's store does not speak what was asked for."""

    def __init__(self, detail: str) -> None:
        super().__init__("backend_unsupported", 501, detail)


class RefusedBefore(DomainError):
    """What it was refused for at first, said again."""
