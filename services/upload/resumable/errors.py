"""What the resumable protocol refuses, with the statuses its clients know."""

from shared.errors import DomainError


class InvalidHeader(DomainError):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, 400, detail)


class UploadNotFound(DomainError):
    """Also for another tenant's: whether it exists is not ours to say."""

    def __init__(self) -> None:
        super().__init__("upload_not_found", 404, "There is no such upload.")


class UploadExpired(DomainError):
    def __init__(self) -> None:
        super().__init__("upload_expired", 410, "Nothing came for too long, and the upload was given up.")


class UploadFinished(DomainError):
    def __init__(self) -> None:
        super().__init__("upload_finished", 400, "The upload is a file by now; delete the file.")


class WrongOffset(DomainError):
    def __init__(self, offset: int) -> None:
        super().__init__("wrong_offset", 409, f"The next byte wanted is number {offset}.", upload_offset=offset)


class TooMuchData(DomainError):
    def __init__(self, length: int) -> None:
        super().__init__("too_much_data", 413, f"The upload was announced with {length} bytes.")


class Superseded(DomainError):
    """Another request writes to the upload now."""

    def __init__(self) -> None:
        super().__init__("upload_superseded", 409, "Another request goes on with this upload.")


class UploadBusy(DomainError):
    def __init__(self) -> None:
        super().__init__("upload_busy", 423, "Another request is still at work on this upload; try again.")


class ChecksumMismatch(DomainError):
    def __init__(self) -> None:
        super().__init__("checksum_mismatch", 460, "The bytes that came are not the ones the checksum was made of.")


class FinalUpload(DomainError):
    def __init__(self) -> None:
        super().__init__("final_upload", 403, "A concatenation takes no bytes of its own.")


class VersionUnsupported(DomainError):
    def __init__(self) -> None:
        super().__init__("version_unsupported", 412, "Tus-Resumable is 1.0.0.")


class Stopping(DomainError):
    def __init__(self) -> None:
        super().__init__("service_stopping", 503, "The service is being restarted; go on in a moment.")
