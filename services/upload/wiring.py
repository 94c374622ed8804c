"""What both processes of `upload` are built from."""

from datetime import timedelta

from services.upload.intake.policy import Policy
from services.upload.settings import Settings
from shared.outbox import Stream

FILES = Stream("files.v1", events="storage_transaction", heads="tenant_storage")
STREAMS = [FILES, Stream("exports.v1")]


def policy_of(settings: Settings) -> Policy:
    return Policy(
        tree=settings.tree,
        allowed=settings.allowed,
        max_file_size=settings.max_file_size,
        max_resumable_size=settings.max_resumable_size,
        lifetime=timedelta(seconds=settings.reservation_seconds),
        upgrade_url=settings.upgrade_url,
        scans=bool(settings.clamav_url),
    )
