"""Bytes for people: units of 1024, at most two decimals, no trailing zeros (S1.5)."""

_UNITS = ("Bytes", "KB", "MB", "GB", "TB")


def format_bytes(size: int) -> str:
    """`format_bytes(4831838208)` is "4.5 GB"."""
    power = 0
    while power < len(_UNITS) - 1 and abs(size) >= 1024 ** (power + 1):
        power += 1
    # Whole hundredths, rounded half up, and 1024 of a unit is one of the next.
    hundredths = (abs(size) * 100 * 2 + 1024**power) // (2 * 1024**power)
    if hundredths >= 102_400 and power < len(_UNITS) - 1:
        power, hundredths = power + 1, 100
    whole, rest = divmod(hundredths, 100)
    decimals = f".{rest:02d}".rstrip("0").rstrip(".")
    return f"{'-' if size < 0 else ''}{whole}{decimals} {_UNITS[power]}"
