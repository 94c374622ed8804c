"""Where a picture was taken, as XMP says it. Pure; every packet keeps its length."""

import re

LARGEST = 1024 * 1024  # bytes of a packet that is looked through; a larger one goes as a whole

_NAME = rb"[A-Za-z][\w.-]*:(?i:gps[\w-]*|[\w-]*latitude[\w-]*|[\w-]*longitude[\w-]*)"
_ATTRIBUTE = re.compile(rb"\s" + _NAME + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_ELEMENT = re.compile(rb"<(" + _NAME + rb")(?:\s[^>]*)?(?:/>|>.*?</\1\s*>)", re.DOTALL)
_PLACE = re.compile(rb"(?i)gps|latitude|longitude")


def without_place(packet: bytes) -> bytes:
    """The same number of bytes, with blanks where the place was; all blanks where it cannot be told apart."""
    if len(packet) > LARGEST or b"\x00" in packet[:64]:  # UTF-16 and UTF-32 have NULs at once
        return b" " * len(packet)
    if not tells_place(packet):
        return packet
    packet = _ELEMENT.sub(_blank, _ATTRIBUTE.sub(_blank, packet))
    # A namespace that only has GPS in its name, or something we did not understand.
    return b" " * len(packet) if tells_place(packet) else packet


def tells_place(packet: bytes) -> bool:
    return _PLACE.search(packet) is not None


def _blank(found: re.Match[bytes]) -> bytes:
    return b" " * len(found[0])
