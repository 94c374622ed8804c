"""Checks a ledger that was downloaded from Stowage. Needs Python and nothing of ours.

    curl -H "Authorization: Bearer $TOKEN" $URL/api/storage/ledger > ledger.ndjson
    curl -H "Authorization: Bearer $TOKEN" $URL/api/usage/proof > proof.json
    python check_ledger.py ledger.ndjson proof.json

Every entry must follow from the one before it, and what they add up to must be what the proof says.
"""

import hashlib
import json
import sys
from collections import Counter


def follow(path: str, until: int | None) -> tuple[int, str, Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """Position, hash of the chain there, bytes and files by type and category. Ends where an entry does not follow."""
    seq, head, size, files = 0, bytes(32).hex(), Counter(), Counter()
    for line in open(path, encoding="utf-8"):
        if seq == until:
            break
        entry = json.loads(line)
        text = "\n".join([str(entry["seq"]), entry["id"], entry["type"], entry["time"], entry["body"]])
        expected = hashlib.sha256(bytes.fromhex(head) + text.encode()).hexdigest()
        # What an erasure has taken out of a body cannot be hashed again; what follows still hangs on its hash.
        if entry["seq"] != seq + 1 or entry["previous"] != head or not (entry["redacted"] or entry["hash"] == expected):
            sys.exit(f"the chain breaks at entry {seq + 1}")
        seq, head = entry["seq"], entry["hash"]
        count(json.loads(entry["body"]), entry["type"], size, files)
    return seq, head, size, files


def count(body: dict, kind: str, size: Counter[tuple[str, str]], files: Counter[tuple[str, str]]) -> None:
    """A file that is replaced or moved leaves where it was; one in the trash is still stored."""
    if kind in ("file.replaced", "file.moved"):
        before = body["previous"]
        size[before["file_type"], before["category"]] -= before["size"]
        files[before["file_type"], before["category"]] -= 1
    sign = {"file.deleted": -1, "file.trashed": 0, "file.restored": 0}.get(kind, 1)
    adjusted = kind == "storage.adjusted"
    size[body["file_type"], body["category"]] += body["delta_bytes"] if adjusted else sign * body["size"]
    files[body["file_type"], body["category"]] += body["delta_files"] if adjusted else sign


def main() -> None:
    proof = json.load(open(sys.argv[2], encoding="utf-8")) if len(sys.argv) > 2 else None
    seq, head, size, files = follow(sys.argv[1], proof and proof["position"])
    print(f"{seq} entries, head {head}\n{sum(size.values())} bytes in {sum(files.values())} files")
    if proof is not None:
        sides = {(k["file_type"], k["category"]): k["ledger"] for k in proof["by_category"]}
        told = {kind: (side["bytes"], side["files"]) for kind, side in sides.items()}
        ours = {kind: (size[kind], files[kind]) for kind in size if size[kind] or files[kind]}
        if (seq, head, ours) != (proof["position"], proof["head_hash"], told):
            sys.exit(f"the proof tells another story: {proof['position']} entries, head {proof['head_hash']}, {told}")
        print("as the proof says")


main()
