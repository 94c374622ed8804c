"""Which cluster answers: stored offsets and published marks are true of one cluster only."""

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError


async def cluster_id(bootstrap: str) -> str:
    """Raises KafkaError when no broker answers."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000)
    try:
        await admin.start()
        found = (await admin.describe_cluster())["cluster_id"]
    finally:
        await admin.close()
    if not found:
        raise KafkaConnectionError("the cluster has no id")
    return str(found)
