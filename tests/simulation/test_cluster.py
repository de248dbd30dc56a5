"""The real coordinator, servers and clients on simulated time."""

from __future__ import annotations

import random
from typing import Any

import pytest

from twistedkv.errors import Superseded
from twistedkv.line.port import LinePort
from twistedkv.simulation.cluster import Cluster, Shape
from twistedkv.simulation.disk import SimulatedMapStore
from twistedkv.simulation.process import Process
from twistedkv.simulation.reactor import HostClock
from twistedkv.simulation.timeline import Killed, Timeline
from twistedkv.slots import slot_of


class Told:
    """Waits for one reply."""

    def __init__(self, replies: list[bytes]) -> None:
        self._replies = replies

    def callback(self, result: bytes) -> None:
        """It has come."""
        self._replies.append(result)

    def errback(self, fail: Exception) -> None:
        """It will not come."""
        self._replies.append(repr(fail).encode())


def formed(seed: int = 1) -> Cluster:
    timeline = Timeline(seed)
    cluster = Cluster(timeline, Shape())
    cluster.start_coordinator()
    for server_id in (1, 2, 3):
        cluster.start_server(server_id)
    assert timeline.run_while(lambda: not cluster.serving, 5)
    return cluster


def done(cluster: Cluster, deferred: Any, seconds: float = 10) -> Any:
    assert cluster.timeline.run_while(lambda: not deferred.called, seconds)
    return deferred.result


def test_a_failed_server_is_replaced_and_nothing_is_lost() -> None:
    cluster = formed()
    process = cluster.start_client(1)
    cluster.timeline.run_until(cluster.timeline.now + 0.1)
    client = process.program.client
    versions = {f"k{n}".encode(): done(cluster, client.put(f"k{n}".encode(), b"v")) for n in range(20)}
    cluster.server_process(1).kill()
    for key, version in versions.items():
        assert done(cluster, client.get(key)) == (b"v", version)
    cluster.start_server(1)
    assert cluster.timeline.run_while(lambda: not cluster.status()["healthy"], 20)
    cluster.processes["coordinator"].kill()
    assert done(cluster, client.put(b"k0", b"without a coordinator")) > versions[b"k0"]
    cluster.start_coordinator()
    assert cluster.timeline.run_while(lambda: not cluster.status().get("healthy"), 20)
    for name in ("client 1", "coordinator", "server 1", "server 2", "server 3"):
        cluster.processes[name].end()
    cluster.timeline.run_until(cluster.timeline.now + 10)
    assert not any(process.alive for process in cluster.processes.values())
    assert not cluster.network.transports
    assert cluster.timeline.problems == []


def test_a_server_that_comes_back_empty_before_anybody_has_noticed_is_nobody() -> None:
    cluster = formed()
    process = cluster.start_client(1)
    cluster.timeline.run_until(cluster.timeline.now + 0.1)
    client = process.program.client
    keys = [b"k%d" % n for n in range(30)]
    for key in keys:
        done(cluster, client.put(key, b"v"))
    for server_id in (1, 2, 3):
        cluster.server_process(server_id).kill()
        cluster.start_server(server_id)
        assert [done(cluster, client.get(key)) is not None for key in keys] == [True] * len(keys)
        assert cluster.timeline.run_while(lambda: not cluster.status()["healthy"], 20)


def test_a_process_killed_while_it_stores_does_nothing_more(logged_errors: Any) -> None:
    kill_while_it_stores()
    # A Deferred has caught it, and nobody was left to deal with that.
    assert [type(error) for error in logged_errors.flush()] == [Killed]
    logged_errors.events.clear()


def kill_while_it_stores() -> None:
    cluster = formed()
    process = cluster.processes["coordinator"]

    def fault(moment: str) -> None:
        if moment == "after":
            process.die_here()

    cluster.store_faults = fault
    cluster.server_process(1).kill()
    cluster.timeline.run_until(cluster.timeline.now + 5)
    assert not process.alive
    stored = list(cluster.disk.servers.values())
    cluster.store_faults = lambda moment: None
    cluster.start_coordinator()
    assert stored
    cluster.timeline.run_until(cluster.timeline.now + 3)
    assert cluster.status()["servers"][0]["state"] == "failed"
    assert cluster.timeline.problems == []


def test_a_client_that_comes_while_the_coordinator_recovers_gets_the_whole_map(logged_errors: Any) -> None:
    cluster = formed()

    def fault(moment: str) -> None:
        raise OSError("no space left on device")

    cluster.store_faults = fault
    cluster.server_process(1).kill()
    service = cluster.coordinator
    assert service is not None
    assert cluster.timeline.run_while(lambda: service.planner is not None, 5)
    cluster.store_faults = lambda moment: None
    process = cluster.start_client(1)
    cluster.timeline.run_until(cluster.timeline.now + 0.1)
    assert process.program.client.cluster_map.shards == ()
    puts = [process.program.client.put(b"k%d" % n, b"v") for n in range(50)]
    for put in puts:
        assert done(cluster, put)
    assert cluster.timeline.problems == []
    logged_errors.flush(OSError)


def test_a_store_that_was_opened_again_refuses_the_older_process() -> None:
    cluster = formed()
    store = SimulatedMapStore(cluster.disk, cluster.processes["coordinator"], lambda moment: None)
    with pytest.raises(Superseded):
        cluster.coordinator.store.apply(None)  # type: ignore[union-attr, arg-type]
    assert store.generation == 2


def test_chance_of_one_concern_does_not_depend_on_another() -> None:
    timeline = Timeline(7)
    first = timeline.stream("a").random()
    timeline.stream("b").random()
    assert timeline.stream("a").random() == first != Timeline(8).stream("a").random()
    assert isinstance(timeline.stream("c"), random.Random)


def test_a_process_that_cannot_start_says_why() -> None:
    class Program:
        def startService(self) -> None:
            raise SystemExit("no")

    timeline = Timeline(1)
    cluster = Cluster(timeline, Shape())
    ends: list[str] = []
    process = Process(
        timeline, cluster.network, "p", "10.0.0.1", 1, HostClock(),
        lambda process: Program(), lambda process, how: ends.append(how),
    )  # fmt: skip
    timeline.run_until(1)
    assert (ends, process.alive) == (["could not start: no"], False)


def test_wall_clocks_are_the_hosts_own_run_as_their_other_clocks_do_and_are_those_of_the_seed() -> None:
    def shown(seed: int) -> list[int]:
        timeline = Timeline(seed)
        cluster = Cluster(timeline, Shape(clock_error=0.1))
        for server_id in (1, 2):
            cluster.start_server(server_id)
        walls = [cluster.wall_of(cluster.host_of(server_id)) for server_id in (1, 2)]
        before = [wall() for wall in walls]
        timeline.run_until(timeline.now + 1000)
        cluster.server_process(1).kill()
        cluster.start_server(1)
        again = cluster.wall_of(cluster.host_of(1))
        assert again() == walls[0](), "a new process finds the clock of its host"
        seconds = [(wall() - at) / 1000 for wall, at in zip(walls, before, strict=True)]
        rates = [cluster.server_process(server_id).reactor.clock.rate for server_id in (1, 2)]
        assert seconds == pytest.approx([1000 * rate for rate in rates], abs=0.01)
        return [*before, *(wall() for wall in walls)]

    assert shown(1) == shown(1)
    assert shown(1) != shown(2)
    assert shown(1)[0] != shown(1)[1]


def test_a_key_expires_on_the_line_port_over_a_failover_of_its_shard() -> None:
    """Once it is gone it stays so, although the new primary's clock is another."""
    cluster = formed()
    timeline = cluster.timeline

    def asked(server_id: int, *argv: bytes) -> bytes:
        server = cluster.server(server_id)
        assert server is not None
        [line] = [child for child in server if isinstance(child, LinePort)]
        replies: list[bytes] = []
        line.desk.shards.execute(Told(replies), slot_of(b"k"), list(argv), writes=argv[0] != b"GET", protocol=2)
        assert timeline.run_while(lambda: not replies, 10)
        return replies[0]

    primary = next(c for c in cluster.configurations if slot_of(b"k") in c.slots).primary.server_id
    other = primary % 3 + 1
    assert asked(other, b"SET", b"k", b"v", b"PX", b"3000") == b"+OK\r\n"
    assert asked(other, b"GET", b"k") == b"$1\r\nv\r\n"
    cluster.server_process(primary).kill()
    assert asked(other, b"GET", b"k") == b"$1\r\nv\r\n"
    timeline.run_until(timeline.now + 6)
    for server_id in (other, other % 3 + 1):
        if server_id != primary:
            assert asked(server_id, b"GET", b"k") == b"$-1\r\n"
