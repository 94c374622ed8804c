"""Everything that uploads in pieces are made of, built once."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from services.upload.blobs.locations import Locations
from services.upload.intake.intake import Intake
from services.upload.quota.service import AccountService
from services.upload.resumable.concatenation import ConcatenationService
from services.upload.resumable.creation import CreationService
from services.upload.resumable.service import ResumableService
from services.upload.resumable.session import Sessions
from services.upload.resumable.turns import Turns
from shared.clock import Clock
from shared.db import Database


@dataclass(frozen=True, slots=True)
class Resumable:
    """`base_url` is where clients find the gateway."""

    base_url: str
    creation: CreationService
    uploads: ResumableService
    concatenation: ConcatenationService

    @classmethod
    def build(
        cls,
        database: Database,
        accounts: AccountService,
        intake: Intake,
        locations: Locations,
        clock: Clock,
        *,
        base_url: str,
        lifetime: timedelta,
    ) -> Self:
        sessions = Sessions(database, accounts, intake, locations, clock, lifetime)
        turns = Turns(database)
        uploads = ResumableService(database, sessions, turns)
        return cls(
            base_url.rstrip("/"),
            CreationService(database, intake, sessions, uploads, clock),
            uploads,
            ConcatenationService(database, intake, locations, sessions, uploads, turns, clock),
        )
