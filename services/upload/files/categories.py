"""The category tree, as configuration says it."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from services.upload.files.rules import IMAGES, Tree

SHIPPED = Path(__file__).parents[1] / "categories.yaml"
NEEDED = ("documents", IMAGES)  # the pages put files into the one, image uploads into the other

_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]  # a part of the store's paths
_TREE: TypeAdapter[dict[str, list[str]]] = TypeAdapter(dict[_Name, list[_Name]])


def read_categories(file: Path) -> Tree:
    """A YAML object: each category with the list of its subcategories. Raises ValueError, one line."""
    try:
        tree = _TREE.validate_python(yaml.safe_load(file.read_text()))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        names = ".".join(str(word) for word in first["loc"] if word != "[key]")
        raise ValueError(f"{names}: {first['msg']}" if names else first["msg"]) from None
    except (OSError, ValueError, yaml.YAMLError):
        raise ValueError(f"{file} cannot be read as YAML") from None
    missing = [name for name in NEEDED if name not in tree]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must be among the categories")
    return tree
