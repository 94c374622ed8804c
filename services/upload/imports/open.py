"""From settings to what is built of them."""

from services.upload.imports.service import Importer
from services.upload.intake.acceptance import Acceptance
from services.upload.intake.intake import Intake
from services.upload.settings import Settings
from services.upload.upkeep import Upkeep
from services.upload.wiring import policy_of
from shared.clock import SystemClock


def open_importer(settings: Settings, upkeep: Upkeep) -> Importer:
    policy = policy_of(settings)
    acceptance = Acceptance(upkeep.accounts, policy, SystemClock())
    intake = Intake(upkeep.accounts, upkeep.entitlements, acceptance, upkeep.locations, policy)
    return Importer(upkeep.database, upkeep.locations, upkeep.accounts, intake, acceptance)
