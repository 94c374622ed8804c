"""A ZIP64 archive's framing, byte by byte, for members that are stored as they are. Pure.

Every member has its size and CRC behind it (a data descriptor), so that it can be written as its bytes come. The
archive is a function of what its members are called and hold: whoever knows that can compare it with what was written.
"""

import struct
from datetime import UTC, datetime

_LOCAL = struct.Struct("<IHHHHHIIIHH")
_LOCAL_EXTRA = struct.Struct("<HHQQ")
_DESCRIPTOR = struct.Struct("<IIQQ")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_CENTRAL_EXTRA = struct.Struct("<HHQQQ")
_END64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR = struct.Struct("<IIQI")
_END = struct.Struct("<IHHHHIIH")

_VERSION = 45  # the first with ZIP64
_FLAGS = 0x0808  # a data descriptor follows; names are UTF-8
_ELSEWHERE = 0xFFFFFFFF  # see the ZIP64 extra field
_UNIX_FILE = 0o100644 << 16


def local_header(name: bytes, at: datetime) -> bytes:
    time, date = _dos(at)
    head = _LOCAL.pack(
        0x04034B50, _VERSION, _FLAGS, 0, time, date, 0, _ELSEWHERE, _ELSEWHERE, len(name), _LOCAL_EXTRA.size
    )
    return head + name + _LOCAL_EXTRA.pack(1, 16, 0, 0)


def descriptor(crc: int, size: int) -> bytes:
    return _DESCRIPTOR.pack(0x08074B50, crc, size, size)


def directory_entry(name: bytes, at: datetime, crc: int, size: int, offset: int) -> bytes:
    """`offset` of the member's local header."""
    time, date = _dos(at)
    head = _CENTRAL.pack(
        0x02014B50,
        3 << 8 | _VERSION,
        _VERSION,
        _FLAGS,
        0,
        time,
        date,
        crc,
        _ELSEWHERE,
        _ELSEWHERE,
        len(name),
        _CENTRAL_EXTRA.size,
        0,
        0,
        0,
        _UNIX_FILE,
        _ELSEWHERE,
    )
    return head + name + _CENTRAL_EXTRA.pack(1, 24, size, size, offset)


def end(members: int, directory_size: int, directory_offset: int) -> bytes:
    there = directory_offset + directory_size
    end64 = _END64.pack(
        0x06064B50,
        _END64.size - 12,
        3 << 8 | _VERSION,
        _VERSION,
        0,
        0,
        members,
        members,
        directory_size,
        directory_offset,
    )
    locator = _LOCATOR.pack(0x07064B50, 0, there, 1)
    return end64 + locator + _END.pack(0x06054B50, 0, 0, 0xFFFF, 0xFFFF, _ELSEWHERE, _ELSEWHERE, 0)


def _dos(at: datetime) -> tuple[int, int]:
    """Two-second steps from 1980 on, in UTC."""
    at = at.astimezone(UTC)
    if at.year < 1980:
        at = datetime(1980, 1, 1, tzinfo=UTC)
    return at.hour << 11 | at.minute << 5 | at.second // 2, (at.year - 1980) << 9 | at.month << 5 | at.day
