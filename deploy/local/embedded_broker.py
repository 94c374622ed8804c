"""librdkafka's in-process cluster as a process of its own. Writes its address to a file, keeps nothing on disk."""

import signal
import sys
from pathlib import Path

from confluent_kafka import Producer

from deploy.local.home import write_private
from deploy.local.mock_cluster import start_cluster
from shared.events import TOPICS


def main() -> None:
    address = start_cluster()
    client = Producer({"bootstrap.servers": address, "log_level": 3})
    for topic in TOPICS:  # asking makes them
        client.list_topics(topic, timeout=10)
    write_private(Path(sys.argv[1]), address)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
