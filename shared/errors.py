"""Errors that mean something to the caller, without a word of HTTP machinery."""

from typing import Any


class DomainError(Exception):
    """A refusal with a stable code; rendered as problem+json at the edge. `extras` become members of the answer."""

    def __init__(self, code: str, status: int, detail: str, **extras: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status
        self.detail = detail
        self.extras = extras


class UpstreamError(Exception):
    """Another service refused or did not answer. `status` is its own, or 503 when there was none."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
