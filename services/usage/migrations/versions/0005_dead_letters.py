"""What becomes of dead letters."""

from shared.kafka import tables as kafka

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    kafka.resolve_dead_letters()
