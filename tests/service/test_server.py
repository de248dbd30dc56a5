"""The server's daemon, with the coordinator and clients as they are, on a network in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import gatherResults
from twisted.logger import formatEvent, globalLogPublisher

from tests.support.daemons import Daemons, sessions_of
from tests.support.transport import random_pieces
from twistedkv.core.handshake import make_hello
from twistedkv.errors import Status
from twistedkv.messages.client import Get, Put
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.messages.hello import Role
from twistedkv.net.framed import Connection, dial
from twistedkv.net.peer import PeerReceiver, PeerSender
from twistedkv.net.streaming import FillReceiver, FillSender
from twistedkv.wire.client import decode_result, encode_request
from twistedkv.wire.frames import Frame

COVERS = [
    "twistedkv.net.client",
    "twistedkv.service.links",
    "twistedkv.service.registration",
    "twistedkv.service.dump",
]


@pytest.fixture
def daemons() -> Iterator[Daemons]:
    cluster = Daemons()
    yield cluster
    cluster.stop()


class RawClient:
    """A client that sends what it is told, and reads when it is told."""

    def __init__(self, daemons: Daemons, server_id: int, identity: bytes = b"r" * 16) -> None:
        self.frames: list[Frame] = []
        self.lost = False
        server = daemons.servers[server_id]
        hello = make_hello(Role.CLIENT, "", 0, identity)
        dialing = dial(daemons.network, "127.0.0.1", server.port, hello, lambda connection, reply: self)
        self.connection: Connection = daemons.result(dialing)

    def send(self, request: Any, request_id: int) -> None:
        message_type, body = encode_request(request)
        self.connection.send(message_type, body, request_id)

    def frames_received(self, frames: list[Frame]) -> None:
        self.frames += frames

    def connection_lost(self, reason: str) -> None:
        self.lost = True


def put_many(daemons: Daemons, client: Any, count: int, value: bytes = b"v") -> dict[bytes, bytes]:
    """Store some keys."""
    pairs = {b"key%d" % i: value + b"%d" % i for i in range(count)}
    daemons.result(client.mput(pairs))
    return pairs


def test_what_is_acknowledged_is_on_every_copy(daemons: Daemons) -> None:
    client = daemons.client()
    pairs = put_many(daemons, client, 200)
    for shard in daemons.coordinator.planner.state.map.shards:  # type: ignore[union-attr]
        copies = [daemons.contents(member.server_id, shard) for member in shard.members]
        assert copies[0] == copies[1]
        assert copies[0]
    assert {key: found.value for key, found in daemons.result(client.mget(pairs)).items()} == pairs


def test_a_server_does_not_rely_on_a_connection_on_which_it_counts_as_failed(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []
    monkeypatch.setattr(Connection, "limit_unacknowledged", lambda self, seconds: limits.append(seconds))
    daemons.start_server(4)
    daemons.until(lambda: daemons.servers[4].core is not None)
    assert limits == [pytest.approx(1.0)]


def test_it_does_not_matter_how_the_bytes_are_cut() -> None:
    daemons = Daemons(pieces=random_pieces(1, 200))
    client = daemons.client()
    pairs = put_many(daemons, client, 50)
    assert {key: found.value for key, found in daemons.result(client.mget(pairs)).items()} == pairs
    daemons.stop()


def test_a_killed_server_costs_no_acknowledged_write_and_is_refilled(daemons: Daemons) -> None:
    client = daemons.client()
    pairs = put_many(daemons, client, 300)
    victim = daemons.primary_of(b"key1").server_id
    daemons.kill(victim)
    assert daemons.result(client.get(b"key1")).value == b"v1"
    put_many(daemons, client, 100, b"w")
    pairs.update((b"key%d" % i, b"w%d" % i) for i in range(100))
    daemons.start_server(victim)
    daemons.until(daemons.healthy)
    daemons.network.pump_seconds(1)
    for shard in daemons.coordinator.planner.state.map.shards:  # type: ignore[union-attr]
        copies = [daemons.contents(member.server_id, shard) for member in shard.members]
        assert copies[0] == copies[1]
    assert {key: found.value for key, found in daemons.result(client.mget(pairs)).items()} == pairs


def test_a_broken_replication_connection_is_made_again_and_nothing_is_missing(daemons: Daemons) -> None:
    client = daemons.client()
    primary = daemons.primary_of(b"key1")
    put_many(daemons, client, 20)
    for round_number in range(5):
        writes = [client.put(b"key1", b"%d/%d" % (round_number, i)) for i in range(10)]
        senders = daemons.transports_of(primary, PeerSender)
        assert senders
        for transport in senders:
            transport.abortConnection()
        daemons.result(gatherResults(writes))
    shard = daemons.shard_of(b"key1")
    assert len(shard.members) == 2
    copies = [daemons.contents(member.server_id, shard) for member in shard.members]
    assert copies[0] == copies[1]


def test_a_newer_replication_connection_ends_the_older_one(daemons: Daemons) -> None:
    receivers = [
        transport.protocol.session
        for server in daemons.servers.values()
        for transport in daemons.transports_of(server, PeerReceiver)
    ]
    older = receivers[0]
    receiving = older._server
    dialing = dial(
        daemons.network,
        "127.0.0.1",
        receiving.port,
        make_hello(Role.PEER, "", older.member.server_id, older.member.store_id),
        lambda connection, reply: RecordingSession(),
    )
    daemons.result(dialing)
    assert older.connection.closed
    daemons.network.pump_seconds(1)  # and the primary makes its own again, which ends ours
    client = daemons.client()
    put_many(daemons, client, 20)
    assert daemons.healthy()


class RecordingSession:
    """Takes frames and does nothing."""

    def frames_received(self, frames: list[Frame]) -> None:
        pass

    def connection_lost(self, reason: str) -> None:
        pass


def test_a_fill_goes_on_after_its_connection_broke(daemons: Daemons, monkeypatch: pytest.MonkeyPatch) -> None:
    client = daemons.client()
    put_many(daemons, client, 400, b"x" * 2000)
    victim = daemons.primary_of(b"key1").server_id
    daemons.kill(victim)
    daemons.until(lambda: daemons.role(daemons.shard_of(b"key1")) is ReplicaRole.PRIMARY)
    daemons.start_server(victim)
    broken = 0
    pump = FillSender._pump

    def pump_and_break(sender: FillSender) -> None:
        nonlocal broken
        pump(sender)
        if broken < 5 and sender.source.bytes_sent and not sender.connection.closed:
            broken += 1
            sender.connection.transport.abortConnection()

    monkeypatch.setattr(FillSender, "_pump", pump_and_break)
    daemons.until(daemons.healthy)
    assert broken == 5
    daemons.network.pump_seconds(1)
    for shard in daemons.coordinator.planner.state.map.shards:  # type: ignore[union-attr]
        copies = [daemons.contents(member.server_id, shard) for member in shard.members]
        assert copies[0] == copies[1]
    assert all(not daemons.transports_of(server, FillReceiver) for server in daemons.servers.values())


def test_reads_and_writes_go_on_without_the_coordinator(daemons: Daemons) -> None:
    client = daemons.client()
    put_many(daemons, client, 20)
    daemons.result(daemons.coordinator.stopService())
    daemons.network.pump_seconds(5)
    daemons.result(client.put(b"key1", b"later"))
    assert daemons.result(client.get(b"key1")).value == b"later"
    newcomer = daemons.client()
    newcomer_knows_a_server = daemons.result(client.refresh())
    assert newcomer_knows_a_server.shards
    daemons.start_coordinator()
    daemons.network.pump_seconds(3)
    assert daemons.healthy()
    assert daemons.result(newcomer.get(b"key1")).value == b"later"


def test_a_heartbeat_that_servers_were_told_stays(daemons: Daemons) -> None:
    """With another one, a lease could outlast the promise that it rests on."""
    daemons.result(daemons.coordinator.stopService())
    daemons.options = daemons.options.__class__(servers=3, shards=3, heartbeat_seconds=1.0)
    daemons.start_coordinator()
    daemons.network.pump_seconds(3)
    assert {server.core.timing.heartbeat for server in daemons.servers.values() if server.core} == {0.2}
    assert daemons.coordinator.settings.heartbeat_seconds == 0.2
    assert daemons.healthy()


def test_a_client_has_one_connection(daemons: Daemons) -> None:
    server_id = daemons.primary_of(b"k").server_id
    older = RawClient(daemons, server_id)
    newer = RawClient(daemons, server_id)
    daemons.network.settle()
    assert older.lost
    assert not newer.lost
    newer.send(Put(1, 1, 0, b"k", b"v"), 7)
    daemons.network.pump_seconds(0.1)
    [(_, _, request_id, body)] = newer.frames
    assert (request_id, decode_result(body).status) == (7, Status.SUCCESS)
    newer.connection.abort()


def test_what_an_older_connection_has_not_delivered_is_not_executed(daemons: Daemons) -> None:
    server_id = daemons.primary_of(b"k").server_id
    older = RawClient(daemons, server_id)
    [session] = sessions_of(daemons.servers[server_id])
    session._connection.transport.pauseProducing()  # the server has not come to read it yet
    older.send(Put(1, 1, 0, b"k", b"old"), 1)
    daemons.network.settle()
    newer = RawClient(daemons, server_id)
    newer.send(Put(1, 1, 0, b"k", b"new"), 1)
    daemons.network.pump_seconds(0.1)
    newer.send(Get(b"k"), 2)
    daemons.network.pump_seconds(0.1)
    assert decode_result(newer.frames[-1][3]).value == b"new"
    assert older.frames == []
    newer.connection.abort()


def test_a_client_that_does_not_read_bounds_what_is_made_for_it(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twistedkv.core.requests.CLIENT_OUTPUT_BYTES_MAX", 1_000_000)
    client = daemons.client()
    daemons.result(client.put(b"large", b"x" * 100_000))
    server_id = daemons.primary_of(b"large").server_id
    slow = RawClient(daemons, server_id, b"s" * 16)
    slow.connection.transport.pauseProducing()
    for request_id in range(1, 201):
        slow.send(Get(b"large"), request_id)
    daemons.network.pump_seconds(0.5)
    [session] = [each for each in sessions_of(daemons.servers[server_id]) if each.mailbox.client == b"s" * 16]
    waiting = len(session._connection.transport.written) + session.mailbox.size
    assert waiting < 2_500_000, "answers are made without end for one who does not read them"
    assert daemons.result(client.get(b"large")).version, "another client is served meanwhile"
    slow.connection.transport.resumeProducing()
    daemons.until(lambda: len(slow.frames) == 200)
    assert [frame[2] for frame in slow.frames] == list(range(1, 201))
    slow.connection.abort()


def test_clients_are_not_read_while_replication_is_pressed(daemons: Daemons) -> None:
    client = daemons.client()
    daemons.result(client.put(b"k", b"v"))
    primary = daemons.primary_of(b"k")
    assert primary.core is not None
    for link in primary.core.peers.values():
        link.unacknowledged_max = 100_000
    stuck = [transport.other for transport in daemons.transports_of(primary, PeerSender)]
    for transport in stuck:
        transport.pauseProducing()  # type: ignore[union-attr]
    writes = [client.put(b"k", b"x" * 50_000) for _ in range(5)]
    daemons.network.pump_seconds(0.1)
    [session] = sessions_of(primary)
    assert not session._connection.transport.reading
    for transport in stuck:
        transport.resumeProducing()  # type: ignore[union-attr]
    daemons.result(gatherResults(writes))
    assert session._connection.transport.reading


def test_a_malformed_request_harms_no_other(daemons: Daemons) -> None:
    raw = RawClient(daemons, daemons.primary_of(b"k").server_id)
    raw.send(Put(1, 1, 0, b"k", b"v"), 1)
    raw.connection.send(0x12, b"short", 2)
    raw.connection.send(0x3F, b"", 3)
    raw.send(Get(b"k"), 4)
    daemons.network.pump_seconds(0.1)
    answers = {frame[2]: Status(decode_result(frame[3]).status) for frame in raw.frames}
    assert answers == {
        1: Status.SUCCESS,
        2: Status.INVALID_REQUEST,
        3: Status.UNSUPPORTED,
        4: Status.SUCCESS,
    }
    raw.connection.abort()


def test_a_server_that_is_stopped_gives_its_roles_away_first(daemons: Daemons) -> None:
    client = daemons.client()
    put_many(daemons, client, 50)
    leaving = daemons.primary_of(b"key1")
    writes = [client.put(b"key1", b"%d" % i) for i in range(20)]
    daemons.result(leaving.stopService())
    daemons.result(gatherResults(writes))
    assert daemons.primary_of(b"key1") is not leaving
    assert daemons.result(client.get(b"key1")).value == b"19"


def test_a_server_that_ends_with_the_only_copy_says_so(
    daemons: Daemons,
) -> None:
    for server_id in (2, 3):
        daemons.kill(server_id)
    daemons.network.pump_seconds(1.5)
    said: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        said.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    daemons.result(daemons.servers[1].stopService())
    globalLogPublisher.removeObserver(observe)
    assert any("could not be handed over" in text for text in said)


def test_dumps_of_two_copies_are_equal(daemons: Daemons, tmp_path: Path) -> None:
    client = daemons.client()
    put_many(daemons, client, 30)
    daemons.result(client.put(b"tab\tand'quote\n", b"\x00\xff\\"))
    daemons.result(client.delete(b"key7"))
    for server in daemons.servers.values():
        server.options = server.options.__class__(coordinator=("127.0.0.1", 7400), data_dir=tmp_path)
    lines: dict[str, list[str]] = {"primary": [], "secondary": []}
    for server_id in daemons.servers:
        answer = daemons.result(client.admin("dump", server=server_id))
        assert [Path(name).name for name in answer["files"]] == [
            f"server_{server_id}.primary",
            f"server_{server_id}.secondary",
        ]
        for role in lines:
            lines[role] += (tmp_path / f"server_{server_id}.{role}").read_text("ascii").splitlines()
    assert sorted(lines["primary"]) == sorted(lines["secondary"])
    assert len(lines["primary"]) == 30
    assert any("tab\\tand'quote\\n\t\\x00\\xff\\\\" in line for line in lines["primary"])


def test_a_server_of_another_cluster_is_refused(daemons: Daemons) -> None:
    stranger = daemons.start_server(9, cluster="another")
    daemons.network.pump_seconds(1)
    assert stranger.core is None
    assert not stranger._registration.connected
    daemons.result(stranger.stopService())
