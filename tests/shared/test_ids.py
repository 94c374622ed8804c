import os
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

from shared.ids import new_id


def milliseconds(made: UUID) -> int:
    return made.int >> 80


def test_it_is_a_uuid_of_version_7() -> None:
    for made in (new_id() for _ in range(500)):
        assert (made.version, made.variant) == (7, RFC_4122)


def test_it_begins_with_the_time_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id()
    assert before <= milliseconds(made) <= time.time_ns() // 1_000_000


def test_later_ones_sort_after_earlier_ones() -> None:
    made = []
    for _ in range(20):
        made.append(new_id())
        time.sleep(0.002)
    assert sorted(made) == made
    assert sorted(map(str, made)) == list(map(str, made))


def test_the_rest_is_chance() -> None:
    chance = {made.int & ~(0b11 << 62) & ((1 << 76) - 1) for made in (new_id() for _ in range(200))}
    varying = 0
    for one in chance:
        varying |= one ^ min(chance)
    assert len(chance) == 200
    assert varying.bit_count() == 74


def test_many_threads_never_make_the_same() -> None:
    with ThreadPoolExecutor(32) as threads:
        batches = list(threads.map(lambda _: [new_id() for _ in range(1000)], range(32)))
    assert len({made for batch in batches for made in batch}) == 32_000


def test_a_forked_child_makes_other_ids_than_its_parent() -> None:
    chance = 0xFFF << 64 | (1 << 62) - 1
    new_id()  # something is waiting when the process forks
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, b"".join(new_id().bytes for _ in range(300)))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 300 * 16)
    os.close(reader)
    os.close(writer)
    childs = {int.from_bytes(theirs[at : at + 16]) & chance for at in range(0, len(theirs), 16)}
    assert len(childs) == 300
    assert not childs & {new_id().int & chance for _ in range(300)}
