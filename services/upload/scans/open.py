"""From settings to a scanner."""

from services.upload.blobs.locations import Locations
from services.upload.quota.service import AccountService
from services.upload.scans.clamav import ClamAV
from services.upload.scans.service import ScanService
from services.upload.settings import Settings
from shared.db import Database


def open_scans(
    settings: Settings, database: Database, accounts: AccountService, locations: Locations
) -> ScanService | None:
    """None where nothing is to be scanned."""
    if not settings.clamav_url:
        return None
    scanner = ClamAV(settings.clamav_url, settings.scan_size_limit)
    return ScanService(database, accounts, locations, scanner, let_large_pass=settings.scan_oversize == "pass")
