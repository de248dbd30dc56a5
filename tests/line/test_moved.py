"""With `--moved` a server speaks as a node of Redis Cluster does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.line.scene import Scene
from twistedkv.slots import slot_of


@pytest.fixture
def moved() -> Iterator[Scene]:
    """Three servers that send their clients to each other."""
    scene = Scene(moved=True)
    yield scene
    scene.end()


def test_a_key_of_another_server_is_moved(moved: Scene) -> None:
    talker = moved.connect(1)
    near, far = moved.key_of(1), moved.key_of(2)
    assert talker.ask("SET", near, "v") == "OK"
    place = f"-MOVED {slot_of(far.encode())} 10.0.0.2:7379"
    assert talker.ask("SET", far, "v") == place
    assert talker.ask("GET", far) == place
    assert talker.ask("WATCH", far) == place
    talker.type("MULTI")
    talker.ask("SET", far, "v")
    assert talker.type("EXEC") == place
    assert moved.connect(2).ask("GET", far) is None


def test_keys_of_a_command_are_of_one_slot(moved: Scene) -> None:
    talker = moved.connect(1)
    first, second = moved.key_of(1, "a"), moved.key_of(1, "b")
    assert slot_of(first.encode()) != slot_of(second.encode())
    assert talker.ask("MGET", first, second) == "-CROSSSLOT Keys in request don't hash to the same slot"
    assert talker.ask("MGET", first, first) == [None, None]


def test_each_server_tells_of_its_own_keys(moved: Scene) -> None:
    talkers = {i: moved.connect(i) for i in (1, 2, 3)}
    keys = [f"key{n}" for n in range(60)]
    for key in keys:
        assert talkers[moved.primary_of(key)].ask("SET", key, key) == "OK"
    sizes = [talker.ask("DBSIZE") for talker in talkers.values()]
    assert sum(sizes) == 60 and 0 not in sizes
    listed = [key for talker in talkers.values() for key in talker.ask("KEYS", "*")]
    assert sorted(listed) == sorted(key.encode() for key in keys)
    scanned = []
    for talker in talkers.values():
        cursor = b"0"
        while True:
            cursor, page = talker.ask("SCAN", cursor, "COUNT", "3")
            scanned += page
            if cursor == b"0":
                break
    assert sorted(scanned) == sorted(listed)
    assert talkers[1].ask("FLUSHALL") == "OK"
    assert [talker.ask("DBSIZE") for talker in talkers.values()] == [0, sizes[1], sizes[2]]


def test_a_shard_without_a_primary_is_down_and_then_moved(moved: Scene) -> None:
    talker = moved.connect(1)
    key = moved.key_of(2)
    moved.cluster.server_process(2).kill()
    heard = []
    for _ in range(200):
        heard.append(talker.ask("GET", key))
        if heard[-1] is None or (heard[-1].startswith("-MOVED") and "10.0.0.2" not in heard[-1]):
            break
        moved.pass_seconds(0.02)
    new = moved.primary_of(key)
    assert new != 2
    assert heard[-1] is None if new == 1 else heard[-1].endswith(f"10.0.0.{new}:7379")
    assert set(heard[:-1]) <= {f"-MOVED {slot_of(key.encode())} 10.0.0.2:7379", "-CLUSTERDOWN Hash slot not served"}
