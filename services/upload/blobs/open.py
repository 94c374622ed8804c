"""From settings to stores."""

from services.upload.blobs.local import LocalStore
from services.upload.blobs.locations import DEFAULT, Locations
from services.upload.settings import Settings


def open_locations(settings: Settings) -> Locations:
    return Locations({DEFAULT: LocalStore(settings.local_storage_path)})
