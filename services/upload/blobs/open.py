"""From settings to stores."""

from pathlib import Path

from services.upload.blobs.azure import AzureStore
from services.upload.blobs.gcs import GcsStore, GoogleToken
from services.upload.blobs.local import LocalStore
from services.upload.blobs.locations import Locations
from services.upload.blobs.places import AzurePlace, GcsPlace, LocalPlace, Place, S3Place
from services.upload.blobs.s3 import S3Store
from services.upload.blobs.spool import Spool
from services.upload.blobs.store import BlobStore
from services.upload.settings import Settings


def open_locations(settings: Settings) -> Locations:
    stores = {
        name: open_store(place, settings.spool_path, settings.store_seconds) for name, place in settings.places.items()
    }
    return Locations(stores, settings.spool_path)


def open_store(place: Place, spool: Path | None, seconds: float) -> BlobStore:
    """`spool`: the folder of parts on their way, made where it is missing; None for the system's temporary one."""
    if spool is not None:
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    match place:
        case LocalPlace():
            return LocalStore(place.path, blobs=place.blobs)
        case S3Place():
            secret = place.secret_key.get_secret_value()
            return S3Store(place.endpoint, place.region, place.bucket, place.access_key, secret, Spool(spool), seconds)
        case AzurePlace():
            key, sas = place.key.get_secret_value(), place.sas.get_secret_value()
            return AzureStore(place.endpoint, place.account, key, place.container, Spool(spool), seconds, sas)
        case GcsPlace():
            token = None if place.anonymous else GoogleToken(place.credentials_file)
            return GcsStore(place.endpoint, place.bucket, place.project, token, Spool(spool), seconds)
