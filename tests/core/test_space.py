"""How full a server is: the marks, what lies between them, and what a key costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.clustermap import Member
from twistedkv.core.progress import PeerLink
from twistedkv.core.space import HIGH_SLACK, KEY_OVERHEAD_BYTES, LOW_SLACK, Measure, Space, growth, size_of, weigh
from twistedkv.records import TOMBSTONE, make_expiring_record, make_record
from twistedkv.slots import slot_of
from twistedkv.storage.memory import MemoryStore
from twistedkv.watermarks import Level, Limits

LIMIT = 1_000_000
LIMITS = Limits(memory_bytes=LIMIT)


class Disk(MemoryStore):
    """A store that is on a disk."""

    def __init__(self, used: int = 0, most: int = 0) -> None:
        super().__init__()
        self.disk = (used, most)

    def space(self) -> tuple[int, int]:
        """What is used, and how much there is."""
        return self.disk


def level_at(part: float, before: Level = Level.OK) -> Level:
    return Measure(int(part * LIMIT), LIMIT).level(LIMITS, before)


def test_the_marks_stand_where_the_limits_say():
    assert [level_at(part) for part in (0, 0.79, 0.81, 0.94, 0.96, 1.5)] == [
        *(Level.OK, Level.OK, Level.LOW, Level.LOW, Level.HIGH, Level.HIGH)
    ]
    assert Measure(10**15, 0).level(LIMITS, Level.OK) is Level.OK


@given(st.floats(0, 1.2), st.sampled_from(Level))
def test_a_level_is_left_downwards_only_a_little_below_its_mark(part: float, before: Level):
    after = level_at(part, before)
    assert after >= level_at(part), "what was full before is never emptier than what was not"
    if after < before:
        mark, slack = (LIMITS.high, HIGH_SLACK) if before is Level.HIGH else (LIMITS.low, LOW_SLACK)
        assert part <= mark - slack + 1e-6
    assert level_at(part, after) is after, "a look changes nothing"


@given(st.lists(st.floats(0.93, 0.955), max_size=20))
def test_a_server_that_wavers_at_its_mark_does_not_change_its_level_each_time(parts: list[float]):
    level, changes = Level.HIGH, 0
    for part in parts:
        before, level = level, level_at(part, level)
        changes += before is not level
        assert level is Level.HIGH or part < LIMITS.high
    falls = sum(part < LIMITS.high - HIGH_SLACK for part in parts)
    assert changes <= 2 * falls


def test_the_level_is_the_worse_of_memory_and_disk():
    store = Disk(used=90, most=100)
    space = Space(store, LIMITS)
    assert space.measure() is Level.LOW
    store.disk = (99, 100)
    assert space.measure() is Level.HIGH
    store.disk = (1, 100)
    store.put(0, b"k", make_record(1, 0, bytes(LIMIT)))
    assert space.measure() is Level.HIGH
    assert space.memory.used == store.bytes_stored + KEY_OVERHEAD_BYTES


@pytest.mark.parametrize(
    ("option", "there", "limit"), [(0, 0, 0), (50, 0, 50), (0, 70, 70), (50, 70, 50), (90, 70, 70)]
)
def test_the_disk_is_as_large_as_it_is_and_as_it_may_be(option: int, there: int, limit: int):
    space = Space(Disk(1, there), Limits(disk_bytes=option))
    space.measure()
    assert space.usage().disk_limit == limit


def test_a_store_that_is_not_all_in_memory_says_how_much_of_it_is():
    class Cold(Disk):
        def memory(self) -> int:
            return 7

    store = Cold(50, 100)
    store.bytes_stored = 10**9
    space = Space(store, LIMITS)
    assert (space.measure(), space.memory.used) == (Level.OK, 7)


def test_room_is_what_may_come_before_the_low_mark_and_excess_what_has_to_go():
    store = MemoryStore()
    space = Space(store, LIMITS)
    space.measure()
    assert (space.usage().room, space.excess()) == (800_000, 0)
    store.bytes_stored = 850_000
    space.measure()
    assert (space.level, space.usage().room, space.excess()) == (Level.LOW, -100_000, 0)
    store.bytes_stored = 960_000
    space.measure()
    assert (space.level, space.excess()) == (Level.HIGH, 20_001)
    store.bytes_stored -= space.excess()
    assert (space.measure(), space.excess()) == (Level.LOW, 0)


def test_one_update_may_lead_past_the_high_mark_but_not_far():
    store = MemoryStore()
    space = Space(store, LIMITS)
    assert space.takes(974_999)
    assert not space.takes(975_000)
    store.bytes_stored = 949_999
    assert space.takes(25_000)
    store.bytes_stored = 950_000
    assert not space.takes(1)
    assert Space(store).takes(10**12)


def test_asking_is_needed_only_past_a_mark():
    store = MemoryStore()
    space = Space(store, LIMITS)
    link = PeerLink(Member(2, bytes(16)))
    for level, tight in ((Level.OK, False), (Level.LOW, False), (Level.HIGH, True), (Level.OK, False)):
        link.fill_up(level)
        space.look([link])
        assert space.tight is tight
    store.bytes_stored = 850_000
    assert space.now() is Level.OK, "nobody has looked"
    space.measure()
    assert space.tight
    space.look([link])
    assert space.tight


BEFORE = st.dictionaries(st.sampled_from([b"a", b"bb", b"ccc"]), st.integers(0, 30))
AFTER = st.dictionaries(st.sampled_from([b"a", b"bb", b"dddd"]), st.integers(-1, 30))


@given(BEFORE, AFTER)
def test_growth_is_the_difference_of_what_is_there_before_and_after(before: dict[bytes, int], after: dict[bytes, int]):
    def cost(values: dict[bytes, int]) -> int:
        return sum(len(key) + size + KEY_OVERHEAD_BYTES for key, size in values.items() if size >= 0)

    store = MemoryStore()
    for key, size in before.items():
        record = make_expiring_record(1, 5, bytes(size)) if size % 2 else make_record(1, 0, bytes(size))
        store.put(slot_of(key), key, record)
    keys = list(after)
    grown = growth(store, [slot_of(key) for key in keys], keys, after.values())
    assert grown == cost(before | after) - cost(before)


def test_a_deleted_key_is_not_there_and_an_expiry_costs_nothing():
    store = MemoryStore()
    store.put(0, b"k", make_record(1, TOMBSTONE, b""))
    assert growth(store, [0], [b"k"], [10]) == 11 + KEY_OVERHEAD_BYTES
    store.put(0, b"k", make_record(2, 0, bytes(10)))
    assert growth(store, [0], [b"k"], [size_of(make_expiring_record(3, 7, bytes(10)))]) == 0
    assert size_of(make_record(4, TOMBSTONE, b"")) == -1


def test_a_copy_is_weighed_by_its_number_of_keys_and_the_size_of_some():
    store = MemoryStore()
    assert weigh(store, range(16384)) == 0
    for n in range(20_000):
        key = b"key:%d" % n
        store.put(slot_of(key), key, make_record(n, 0, bytes(50)))
    whole = store.bytes_stored + store.keys * KEY_OVERHEAD_BYTES
    assert weigh(store, range(16384)) == pytest.approx(whole, rel=0.01)
    assert weigh(store, range(4096)) == pytest.approx(whole / 4, rel=0.05)


RSS = """
import gc, sys
from twistedkv.records import make_record
from twistedkv.slots import slot_of
from twistedkv.storage.memory import MemoryStore

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

store, value = MemoryStore(), bytes(int(sys.argv[1]))
gc.collect()
before = resident()
for n in range(int(sys.argv[2])):
    key = b"key:%012d" % n
    store.put(slot_of(key), key, make_record(n, 0, value))
print(resident() - before, store.keys, store.bytes_stored)
"""


@pytest.mark.parametrize(("size", "count"), [(10, 200_000), (100, 200_000), (1000, 50_000)])
def test_the_estimate_of_memory_is_near_what_the_process_takes(size: int, count: int):
    said = subprocess.run(
        [sys.executable, "-c", RSS, str(size), str(count)], capture_output=True, check=True, text=True
    )
    resident, keys, stored = map(int, said.stdout.split())
    assert stored + keys * KEY_OVERHEAD_BYTES == pytest.approx(resident, rel=0.15)
