"""What an administrator does about records that could not be applied: look, replay, discard."""

from shared.dead_letters.replayer import Replayer
from shared.dead_letters.routes import dead_letter_router
from shared.dead_letters.service import DeadLetterService

__all__ = ["DeadLetterService", "Replayer", "dead_letter_router"]
