"""From settings to what is built of them, for both processes."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.upload.blobs.gcs import GoogleToken
from services.upload.blobs.locations import Locations
from services.upload.blobs.places import AzurePlace, GcsPlace, LocalPlace, Place, S3Place
from services.upload.direct.azure import AzureOffers
from services.upload.direct.cleanup import DirectCleanup
from services.upload.direct.completion import Completion
from services.upload.direct.gcs import GcsOffers
from services.upload.direct.local import LocalOffers
from services.upload.direct.offers import Offers
from services.upload.direct.receiver import Receiver
from services.upload.direct.reservation import Reservations
from services.upload.direct.s3 import S3Offers
from services.upload.direct.service import DirectUploadService
from services.upload.entitlements.service import EntitlementService
from services.upload.intake.acceptance import Acceptance
from services.upload.intake.intake import Intake
from services.upload.quota.service import AccountService
from services.upload.settings import Settings
from services.upload.wiring import policy_of
from shared.clock import Clock, SystemClock
from shared.db import Database


@dataclass(frozen=True, slots=True)
class Direct:
    uploads: DirectUploadService
    receiver: Receiver
    local: LocalOffers
    offers: Mapping[str, Offers]


def open_direct(
    settings: Settings,
    database: Database,
    accounts: AccountService,
    intake: Intake,
    acceptance: Acceptance,
    locations: Locations,
    clock: Clock,
) -> Direct:
    local = LocalOffers(settings.base_url, settings.signing_secrets, clock)
    offers = open_offers(settings, local)
    reservations = Reservations(accounts, intake.policy)
    completion = Completion(database, intake, acceptance, reservations, locations, offers)
    uploads = DirectUploadService(database, intake, completion, reservations, offers, clock)
    return Direct(uploads, Receiver(database, locations, reservations), local, offers)


def open_offers(settings: Settings, local: LocalOffers) -> Mapping[str, Offers]:
    """By the name of the location. A store that cannot be offered from, for want of a key to sign with, is missing."""
    found = {name: _offers_at(place, local, settings.store_seconds) for name, place in settings.places.items()}
    return {name: offers for name, offers in found.items() if offers is not None}


def _offers_at(place: Place, local: LocalOffers, seconds: float) -> Offers | None:
    match place:
        case LocalPlace():
            return local
        case S3Place(endpoint=endpoint, public_endpoint=public, region=region, bucket=bucket, access_key=access):
            return S3Offers(endpoint, public, region, bucket, access, place.secret_key.get_secret_value(), seconds)
        case AzurePlace(endpoint=endpoint, public_endpoint=public, account=account, container=container):
            key = place.key.get_secret_value()
            return AzureOffers(endpoint, public, account, key, container, seconds) if key else None
        case GcsPlace(endpoint=endpoint, public_endpoint=public, bucket=bucket, credentials_file=file):
            headers = _nobody if place.anonymous else GoogleToken(file).headers
            key_of = None if file is None else json.loads(file.read_text())
            return GcsOffers(endpoint, public, bucket, headers, key_of, seconds)


async def _nobody() -> dict[str, str]:
    """Who we are where nobody asks."""
    return {}


@asynccontextmanager
async def direct_cleanup(
    settings: Settings,
    database: Database,
    accounts: AccountService,
    entitlements: EntitlementService,
    locations: Locations,
) -> AsyncIterator[DirectCleanup]:
    """For the worker, whose `database` is open."""
    clock, policy = SystemClock(), policy_of(settings)
    acceptance = Acceptance(accounts, policy, clock)
    intake = Intake(accounts, entitlements, acceptance, locations, policy)
    direct = open_direct(settings, database, accounts, intake, acceptance, locations, clock)
    try:
        yield DirectCleanup(database, direct.uploads, locations, direct.offers, settings.reservation_seconds * 2)
    finally:
        await direct.uploads.close()
