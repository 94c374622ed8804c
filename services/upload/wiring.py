"""What both processes of `upload` are built from."""

from pathlib import Path

import yaml

from services.upload.files.rules import Tree
from shared.outbox import Stream

FILES = Stream("files.v1", events="storage_transaction", heads="tenant_storage")


def load_categories() -> Tree:
    tree: Tree = yaml.safe_load((Path(__file__).parent / "categories.yaml").read_text())
    return tree
