"""Each kind of fault does what it says, and what the promise does not allow is not done."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulation.test_cluster import done
from twistedkv.errors import OutOfSpace
from twistedkv.recording.lanes import Habits
from twistedkv.simulation.cluster import COORDINATOR_HOST, Cluster, Shape
from twistedkv.simulation.faults.clients import ClientFaults
from twistedkv.simulation.faults.coordinator import CoordinatorFaults
from twistedkv.simulation.faults.drawing import KINDS, Fault, draw_faults
from twistedkv.simulation.faults.injection import Faults
from twistedkv.simulation.faults.links import LinkFaults
from twistedkv.simulation.faults.scene import Scene
from twistedkv.simulation.faults.servers import ServerFaults
from twistedkv.simulation.rest import differences
from twistedkv.simulation.spawning import SimulatedProcesses
from twistedkv.simulation.timeline import Timeline
from twistedkv.simulation.workload import Workload


@pytest.fixture(autouse=True)
def forget_logged_errors(logged_errors: Any) -> Iterator[None]:
    """Faults make the programs log errors."""
    yield
    logged_errors.flush()
    logged_errors.events.clear()


def formed(seed: int = 1, **shape: Any) -> tuple[Cluster, Workload]:
    timeline = Timeline(seed)
    cluster = Cluster(timeline, Shape(**shape))
    cluster.start_coordinator()
    for server_id in cluster.shape.server_ids:
        if not cluster.shape.spawned(server_id):
            cluster.start_server(server_id)
    assert timeline.run_while(lambda: bool(differences(cluster)), 20)
    return cluster, Workload(timeline, Habits(lanes=1))


OF_DISKS = ("fill disk", "slow disk", "power cut")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spawns", [False, True])
def test_every_kind_of_fault_can_be_done_and_the_cluster_heals(kind: str, spawns: bool) -> None:
    cluster, workload = formed(spawns=spawns, clients=1, durable=kind in OF_DISKS)
    faults = Faults(cluster, workload)
    workload.run_client(cluster.start_client(1))
    cluster.timeline.run_until(cluster.timeline.now + 3)
    told = len(cluster.timeline.story)
    faults.schedule([Fault(0.1 * n, kind, 0.5, n) for n in range(1, 12)])
    cluster.timeline.run_until(cluster.timeline.now + 3)
    impossible = ("power off", "power cut") if spawns else ("spawn error",)
    assert set(faults.done) == (set() if kind in impossible else {kind})
    if kind not in (*impossible, "store error", "kill in step", "spawn error", "slow coordinator"):
        assert len(cluster.timeline.story) > told
    faults.end()
    workload.stopping = True
    assert cluster.timeline.run_while(lambda: workload.unfinished or bool(differences(cluster)), 60), differences(
        cluster
    )
    assert not cluster.network.cuts


def test_the_last_copy_that_is_well_is_spared() -> None:
    cluster, workload = formed(servers=2)
    scene = Scene(cluster, workload)
    servers = ServerFaults(scene)
    chance = random.Random(1)
    cluster.timeline.run_until(5)
    assert [servers.kill_server(chance, 0.1) for _ in range(10)].count(True) == 1
    assert sum(cluster.server_process(i).alive for i in (1, 2)) == 1


def test_a_server_whose_store_fails_ends_before_it_acknowledges_anything() -> None:
    cluster, workload = formed(servers=2, copies=2, shards=1)
    process = cluster.start_client(1)
    cluster.timeline.run_until(5)
    scene = Scene(cluster, workload)
    ServerFaults(scene)
    primary = cluster.configurations[0].primary.server_id
    scene.unstorable[primary] = None
    put = process.program.client.put(b"k", b"v")
    assert cluster.timeline.run_while(lambda: cluster.server_process(primary).alive, 1)
    assert "its store fails" in "".join(text for _, text in cluster.timeline.story)
    assert done(cluster, put)
    assert primary not in scene.unstorable
    assert done(cluster, process.program.client.get(b"k")).value == b"v"


def test_a_killed_child_is_reaped_by_its_coordinator_at_once_and_by_no_other() -> None:
    cluster, _ = formed(spawns=True)
    cluster.server_process(1).kill()
    began = cluster.timeline.now
    assert cluster.timeline.run_while(lambda: not _failed(cluster, 1), 1, step=0.001)
    assert cluster.timeline.now - began < 0.01
    assert cluster.timeline.run_while(lambda: bool(differences(cluster)), 10)
    pids = {i: cluster.server_process(i).pid for i in (1, 2, 3)}
    cluster.processes["coordinator"].kill()
    cluster.timeline.run_until(cluster.timeline.now + 1)
    cluster.start_coordinator()
    assert cluster.timeline.run_while(lambda: bool(differences(cluster)), 10)
    assert pids == {i: cluster.server_process(i).pid for i in (1, 2, 3)}
    cluster.server_process(2).kill()
    assert cluster.timeline.run_while(lambda: not _failed(cluster, 2), 1)
    assert cluster.timeline.run_while(lambda: bool(differences(cluster)), 10)
    assert pids[2] != cluster.server_process(2).pid


def _failed(cluster: Cluster, server_id: int) -> bool:
    return any(event.event == "server.failed" and event.server == server_id for event in cluster.disk.journal)


def test_a_process_that_is_not_there_has_no_start_time_and_takes_no_signal() -> None:
    cluster, _ = formed()
    processes = SimulatedProcesses(
        cluster.processes["coordinator"],
        cluster.processes,
        lambda *_: None,
        lambda: None,
        random.Random(1),  # type: ignore[arg-type, return-value]
    )
    assert processes.start_time(1) == 0
    processes.signal(1, 9)  # type: ignore[arg-type]
    pid = cluster.server_process(1).pid
    assert processes.start_time(pid)
    processes.signal(pid, 9)  # type: ignore[arg-type]
    assert not cluster.server_process(1).alive


def test_a_cut_link_is_healed_when_its_time_is_over() -> None:
    cluster, workload = formed()
    cluster.timeline.run_until(5)
    links = LinkFaults(Scene(cluster, workload))
    assert links.cut_coordinator(random.Random(2), 0.3)
    assert all(COORDINATOR_HOST in link for link in cluster.network.cuts)
    cluster.timeline.run_until(cluster.timeline.now + 0.4)
    assert not cluster.network.cuts


def test_clients_and_switches_need_somebody_who_is_there() -> None:
    cluster, workload = formed(clients=1)
    scene = Scene(cluster, workload)
    chance = random.Random(1)
    assert not ClientFaults(scene).kill_client(chance, 1)
    assert not CoordinatorFaults(scene).switch(chance, 1)


def test_a_drawn_fault_says_what_it_is() -> None:
    [first, *_] = draw_faults(Timeline(3), 20.0, 0.3)
    assert first.kind in str(first)


def refused(cluster: Cluster, deferred: Any) -> bool:
    """Whether a write is refused for want of space; it has to have ended otherwise."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    assert cluster.timeline.run_while(lambda: not found, 10)
    failure = getattr(found[0], "check", None)
    assert failure is None or failure(OutOfSpace), found
    return failure is not None


def test_a_full_server_refuses_what_grows_and_holds_up_nobody() -> None:
    cluster, workload = formed(servers=2, copies=2, shards=1, clients=1)
    faults = ServerFaults(Scene(cluster, workload))
    process = cluster.start_client(1)
    cluster.timeline.run_until(cluster.timeline.now + 0.1)
    client = process.program.client
    assert not refused(cluster, client.put(b"k", b"value"))
    assert faults.fill_server(random.Random(1), 2.0)
    cluster.timeline.run_until(cluster.timeline.now + 0.5)
    assert refused(cluster, client.put(b"new", b"value"))
    assert not refused(cluster, client.put(b"k", b"other"))
    assert done(cluster, client.get(b"k")).value == b"other"
    assert not refused(cluster, client.delete(b"k"))
    cluster.timeline.run_until(cluster.timeline.now + 2.0)
    assert not refused(cluster, client.put(b"new", b"value"))
    kinds = [event.event for event in cluster.disk.journal if event.event.startswith("space.")]
    assert kinds[:2] == ["space.high", "space.helpless"] and kinds[-1] == "space.ok"


def test_a_full_server_is_relieved_and_is_given_its_share_when_it_has_room_again() -> None:
    cluster, workload = formed(servers=3, copies=2, shards=3, clients=1)
    faults = ServerFaults(Scene(cluster, workload))
    process = cluster.start_client(1)
    cluster.timeline.run_until(cluster.timeline.now + 0.1)
    client = process.program.client
    assert not any(refused(cluster, client.put(b"%d" % number, bytes(100))) for number in range(50))
    assert faults.fill_server(random.Random(1), 20.0)
    full = next(i for i in (1, 2, 3) if cluster.server(i).core.store.full)  # type: ignore[union-attr]
    cluster.timeline.run_until(cluster.timeline.now + 0.2)
    assert any(refused(cluster, client.put(b"new %d" % number, b"value")) for number in range(20))
    cluster.timeline.run_until(cluster.timeline.now + 15.0)
    assert not any(full in c.preferred for c in cluster.configurations)
    assert not any(refused(cluster, client.put(b"new %d" % number, b"value")) for number in range(20))
    cluster.timeline.run_until(cluster.timeline.now + 45.0)
    assert sum(full in c.preferred for c in cluster.configurations) == 2
    assert not differences(cluster)
