"""What becomes of dead letters."""

from shared.kafka import tables as kafka

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    kafka.resolve_dead_letters()
