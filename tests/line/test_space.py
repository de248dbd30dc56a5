"""Line clients of servers that are full."""

from __future__ import annotations

import pytest

from tests.line.scene import Scene
from twistedkv.simulation.disk import DISK_BYTES
from twistedkv.watermarks import Eviction, Limits

LIMIT = 100_000
OOM = "-OOM not executed: "


@pytest.fixture
def scene() -> Scene:
    return Scene(limits=Limits(memory_bytes=LIMIT), servers=2, shards=2)


def fill(scene: Scene, size: int = 5000) -> None:
    """Store values until a server is full."""
    talker = scene.connect(1)
    for number in range(60):
        if talker.ask("SET", f"filling:{number}", bytes(size)) != "OK":
            break
    scene.pass_seconds(0.5)
    assert talker.ask("SET", "more", bytes(size)).startswith(OOM)


def test_what_grows_is_refused_with_oom_and_the_rest_goes_on(scene: Scene) -> None:
    fill(scene)
    for server_id in (1, 2):
        talker = scene.connect(server_id)
        refused = talker.ask("SET", "new", bytes(20_000))
        assert refused.startswith(f"{OOM}") and "past the high mark of its space" in refused
        assert talker.ask("APPEND", "filling:1", bytes(20_000)).startswith(OOM)
        assert talker.ask("GET", "filling:1") == bytes(5000)
        assert talker.ask("SET", "filling:1", bytes(5000)) == "OK"
        assert talker.ask("EXPIRE", "filling:1", "1000") == 1
    assert talker.ask("DEL", *(f"filling:{n}" for n in range(60))) > 10
    scene.pass_seconds(0.5)
    assert talker.ask("SET", "new", bytes(20_000)) == "OK"


def test_sets_of_several_clients_are_refused_one_by_one(scene: Scene) -> None:
    fill(scene)
    talker, other = scene.connect(1), scene.connect(1)
    talker.ask("SET", "new", bytes(20_000))
    for each in (talker, other):
        each.request("SET", "{filling:1}new", bytes(20_000))
        each.request("SET", "filling:1", "short")
        each.request("GET", "filling:1")
    for each in (talker, other):
        refused, stored, read = each.wait(3)
        assert refused.startswith("-OOM "), refused
        assert (stored, read) == ("OK", b"short")


def test_sets_in_a_row_are_refused_one_by_one(scene: Scene) -> None:
    fill(scene)
    talker = scene.connect(1)
    talker.ask("SET", "new", bytes(20_000))
    for _ in range(10):
        talker.request("SET", "filling:1", "short")
        talker.request("SET", "{filling:1}new", bytes(15_000))
    answers = talker.wait(20)
    assert answers[::2] == ["OK"] * 10
    assert all(answer.startswith("-OOM ") for answer in answers[1::2])


def test_a_transaction_is_refused_as_a_whole(scene: Scene) -> None:
    fill(scene)
    talker = scene.connect(2)
    for command in (("MULTI",), ("SET", "{filling:1}new", bytes(20_000)), ("GET", "filling:1")):
        talker.ask(*command)
    assert talker.ask("EXEC").startswith(OOM)
    assert talker.ask("EXISTS", "{filling:1}new") == 0


def fields(talker: object, section: str) -> dict[str, str]:
    text = talker.ask("INFO", section).decode()  # type: ignore[attr-defined]
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def test_info_and_settings_tell_of_limits(scene: Scene) -> None:
    fill(scene)
    talker = scene.connect(1)
    memory = fields(talker, "memory")
    assert (memory["maxmemory"], memory["maxmemory_human"]) == ("100000", "97.66K")
    assert (memory["maxmemory_policy"], memory["twistedkv_disk_limit"]) == ("noeviction", str(DISK_BYTES))
    assert memory["twistedkv_space"] in ("low", "high")
    assert 80_000 < int(memory["used_memory"]) <= LIMIT
    assert int(memory["used_memory"]) > int(memory["used_memory_dataset"])
    assert talker.ask("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"100000"]
    assert talker.ask("CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"noeviction"]


def test_a_cache_goes_on(scene: Scene) -> None:
    scene = Scene(limits=Limits(memory_bytes=LIMIT, eviction=Eviction.LRU), servers=2, shards=2)
    talker = scene.connect(1)
    for number in range(200):
        assert talker.ask("SET", f"key:{number}", bytes(2000)) == "OK"
    scene.pass_seconds(0.5)
    assert all(scene.cluster.server(i).core.space.memory.used < LIMIT for i in (1, 2))
    # Of keys that were stored within one tick it is not known which came last.
    assert any(talker.ask("GET", f"key:{number}") == bytes(2000) for number in range(190, 200))
    assert sum(int(fields(scene.connect(i), "stats")["evicted_keys"]) for i in (1, 2)) > 100
    assert fields(talker, "memory")["maxmemory_policy"] == "allkeys-lru"
    assert talker.ask("CONFIG", "GET", "maxmemory-policy")[1] == b"allkeys-lru"
