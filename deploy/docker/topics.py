"""`KAFKA_BOOTSTRAP=… python -m deploy.docker.topics`: makes the topics that are missing, then ends."""

import asyncio
import os
import sys

from deploy.local.home import StackError
from deploy.local.kafka import create_topics


def main() -> None:
    try:
        asyncio.run(create_topics(os.environ["KAFKA_BOOTSTRAP"]))
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
