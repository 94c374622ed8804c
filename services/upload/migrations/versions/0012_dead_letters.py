"""What becomes of dead letters."""

from shared.kafka import tables as kafka

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    kafka.resolve_dead_letters()
