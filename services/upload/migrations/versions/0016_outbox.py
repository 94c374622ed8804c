"""An outbox beside the ledger, for what is told of a tenant and changes nothing of what it stores."""

from shared.outbox import tables as outbox

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    # Not append only: what was told of an erased tenant and its people goes with them.
    outbox.create_events()
