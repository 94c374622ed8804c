"""Checks an export that lies on a disk, offline: `python verify.py FILE`, or `stowage export verify FILE`.

Needs nothing but Python. Every member is read and compared with the manifest, nothing may be missing or be there
besides, and the ledger's entries must follow from each other.
"""

import hashlib
import json
import sys
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

FORMAT = "stowage-export-1"
MANIFEST, TRANSACTIONS = "manifest.ndjson", "transactions.ndjson"
CHUNK = 1024 * 1024


class Broken(Exception):
    """It is not an export, or not a whole one."""


def verify(path: str) -> dict[str, Any]:
    """What the export holds. Raises Broken with the first thing that is wrong.

    `problems`: files that could not be put into it, as its manifest says: name and reason.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _verify(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, ValueError) as error:
        raise Broken(f"{type(error).__name__}: {error}") from error


def _verify(archive: zipfile.ZipFile) -> dict[str, Any]:
    names = archive.namelist()
    left = set(names)
    if len(left) != len(names) or MANIFEST not in left:
        raise Broken("names come twice" if MANIFEST in left else f"there is no {MANIFEST}")
    left.remove(MANIFEST)
    lines = _lines(archive, MANIFEST)
    head, last = next(lines, {}), {}
    if head.get("format") != FORMAT:
        raise Broken("the manifest is of another format")
    size, problems = 0, []
    for line in lines:
        if "members" in line:
            last = line
            break
        if "problem" in line:
            problems.append({"name": line["file"]["name"], "problem": line["problem"]})
        if line["path"] is not None:
            left.discard(line["path"])
            size += _check(archive, line)
    members = len(names) - 1
    if left or next(lines, None) is not None or (last.get("members"), last.get("bytes")) != (members, size):
        raise Broken("the manifest and the archive do not hold the same")
    if last["problems"] != len(problems):
        raise Broken("the manifest is not whole")
    entries = _follow(archive, head["ledger_position"])
    return {"members": members, "bytes": size, "ledger_entries": entries, "problems": problems, **head}


def _check(archive: zipfile.ZipFile, line: dict[str, Any]) -> int:
    """Reads one member; returns its bytes. One whose file was damaged before counts as it is."""
    digest, size = hashlib.sha256(), 0
    with archive.open(line["path"]) as member:  # it compares the CRC
        while chunk := member.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    whole = size == line["size"] and line.get("sha256", digest.hexdigest()) == digest.hexdigest()
    if not whole and line.get("problem") != "damaged":
        raise Broken(f"{line['path']} is not what the manifest says")
    return size


def _follow(archive: zipfile.ZipFile, position: int) -> int:
    r"""Each hash = sha256(previous hash ‖ "seq\nid\ntype\ntime\nbody"), from 32 zero bytes on."""
    previous, seq = bytes(32), 0
    for line in _lines(archive, TRANSACTIONS):
        seq += 1
        time = line["occurred_at"]
        text = f"{seq}\n{line['id']}\n{line['type']}\n{time}\n{line['body']}"
        expected = hashlib.sha256(previous + text.encode()).digest()
        if line["seq"] != seq or line["hash"] != expected.hex():
            raise Broken(f"the ledger's chain breaks at entry {seq}")
        previous = expected
    if seq != position:
        raise Broken(f"the ledger ends at {seq} and not at {position}")
    return seq


def _lines(archive: zipfile.ZipFile, name: str) -> Iterator[dict[str, Any]]:
    with archive.open(name) as member:
        stream: BinaryIO = member  # type: ignore[assignment]
        for line in stream:
            yield json.loads(line)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: verify FILE\n")
        return 2
    try:
        found = verify(arguments[0])
    except Broken as error:
        sys.stderr.write(f"{arguments[0]}: {error}\n")
        return 1
    for problem in found["problems"]:
        sys.stdout.write(f"not in it: {problem['name']} ({problem['problem']})\n")
    sys.stdout.write(
        f"{arguments[0]}: {found['members']} members, {found['bytes']} bytes, {found['ledger_entries']} ledger entries "
        f"of tenant {found['tenant_id']} at {found['snapshot_at']}: as they were exported\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
