"""librdkafka's in-process cluster as a process of its own. Writes its address to a file, keeps nothing on disk."""

import signal
import sys
from pathlib import Path

from confluent_kafka import Producer

from deploy.local.home import write_private
from shared.events import TOPICS


def main() -> None:
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none", "log_level": 3})
    broker = next(iter(cluster.list_topics(timeout=10).brokers.values()))
    for topic in TOPICS:  # asking makes them
        cluster.list_topics(topic, timeout=10)
    write_private(Path(sys.argv[1]), f"{broker.host}:{broker.port}")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
