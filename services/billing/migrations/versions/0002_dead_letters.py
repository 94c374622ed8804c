"""What becomes of dead letters."""

from shared.kafka import tables as kafka

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    kafka.resolve_dead_letters()
