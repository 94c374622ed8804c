"""What can be cleaned up, in the order in which it is chosen. Pure."""

from typing import Literal, get_args

Kind = Literal["temporary", "trash", "duplicates", "near_duplicates", "abandoned", "thumbnails"]

# What one kind has chosen the next does not see: a temporary file is nobody's reason to delete its copy.
ORDER: tuple[Kind, ...] = get_args(Kind)
