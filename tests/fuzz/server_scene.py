"""A server, and everything that can be said on its connections: by clients, peers, and its coordinator."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import MappingProxyType

from tests.fuzz.scene import STORES, Scene, check_scene, framed
from tests.fuzz.scripts import Deed, Step
from tests.fuzz.seats import FarEnd, Listening, dialled
from tests.support.transport import MemoryNetwork
from tests.wire.examples import EXAMPLES
from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.core.entries import ONE, SEVERAL, encode_entry, encode_records
from twistedkv.core.handshake import make_hello
from twistedkv.errors import ProtocolError
from twistedkv.limits import SLOTS
from twistedkv.messages.client import (
    BackupBegin,
    BackupEnd,
    BackupLog,
    BackupRecords,
    Cas,
    Delete,
    Execute,
    ExecuteMode,
    Get,
    GetMany,
    Incr,
    MapRequest,
    MapUpdate,
    Noop,
    Put,
    PutMany,
    Result,
    Scan,
    Verify,
    Watched,
)
from twistedkv.messages.coordinator import (
    DumpPrimary,
    DumpSecondary,
    Seal,
    Shutdown,
    StartedReply,
    SwitchPrimary,
    UpdatePrimary,
    UpdateSecondary,
)
from twistedkv.messages.hello import Hello, HelloReply, Role
from twistedkv.messages.peer import (
    Ack,
    BeginFill,
    Configure,
    FillAck,
    FillChunk,
    FillEnd,
    FillKind,
    FillSessions,
    Refusal,
    RefusedSection,
    Replicate,
    Section,
)
from twistedkv.records import make_expiring_record, make_record, version_of
from twistedkv.service.config import ServerOptions
from twistedkv.service.server import ServerService
from twistedkv.slots import slot_of
from twistedkv.wire import client as client_wire
from twistedkv.wire import coordinator as coordinator_wire
from twistedkv.wire import peer as peer_wire
from twistedkv.wire.client import RESULT, decode_result
from twistedkv.wire.frames import Frame, encode_frame
from twistedkv.wire.shared import HELLO, HELLO_REPLY, HELLO_REPLY_TYPE, HELLO_TYPE

ME = 1
SOLE, LED, FOLLOWED, LEARNT, FILLED = range(5)
"""Shards, by what the server is to them: only copy, primary, secondary, learner, primary with a learner."""
SHARD_SLOTS = 32
"""Of each; the others are of a shard that is elsewhere. Few, because every slot costs time."""
COORDINATOR_PORT, OTHER_PORT = 7400, 7402


def _server_map() -> ClusterMap:
    mine, other = (Member(server_id, STORES[server_id]) for server_id in (ME, 2))
    servers = {
        ME: Server(ME, STORES[ME], "127.0.0.1", 7401, ServerState.ACTIVE, 1),
        2: Server(2, STORES[2], "127.0.0.1", OTHER_PORT, ServerState.ACTIVE, 2),
    }
    roles = {
        SOLE: (mine, (), ()),
        LED: (mine, (other,), ()),
        FOLLOWED: (other, (mine,), ()),
        LEARNT: (other, (), (mine,)),
        FILLED: (mine, (), (other,)),
    }
    shards = [
        Configuration(
            shard,
            shard * SHARD_SLOTS,
            (shard + 1) * SHARD_SLOTS - 1,
            2,
            1,
            primary,
            secondaries,
            learners,
            True,
            False,
            (primary.server_id,),
        )
        for shard, (primary, secondaries, learners) in roles.items()
    ]
    absent = Member(3, STORES[3])
    shards.append(
        Configuration(len(roles), len(roles) * SHARD_SLOTS, SLOTS - 1, 2, 1, absent, (), (), True, False, (3,))
    )
    return ClusterMap("test", 3, 2, 1, 200, MappingProxyType(servers), tuple(shards))


SERVER_MAP = _server_map()
KEYS = {
    shard: next(b"k%d" % n for n in itertools.count() if slot_of(b"k%d" % n) // SHARD_SLOTS == shard)
    for shard in range(5)
}
"""A key of each shard."""
PAIRS = {shard: [key, b"{%b}2" % key] for shard, key in KEYS.items()}
"""It, and another one of the same slot."""


COORDINATOR_REPLY = HelloReply(0, 1, "test", 0, b"c" * 16, "")
OTHER_REPLY = HelloReply(0, 1, "test", 2, STORES[2], "")


class ServerScene(Scene):
    """A server that is something else for each of its shards."""

    seats = ("client", "peer", "transfer", "coordinator", "follower", "learner", "stranger")

    def __init__(self, pieces: Callable[[], int | None] = lambda: None) -> None:
        super().__init__()
        self.network = MemoryNetwork(pieces)
        self.network.advance(100)
        self.network.listenTCP(COORDINATOR_PORT, Listening(self._coordinator_dialled), interface="127.0.0.1")
        self.network.listenTCP(OTHER_PORT, Listening(self._other_dialled), interface="127.0.0.1")
        self.ended = False
        self._setting_up = True
        self.only_clients = True
        """Nobody has spoken who may change what the server serves."""
        options = ServerOptions(coordinator=("127.0.0.1", COORDINATOR_PORT), server_id=ME, data_dir=Path("/dev/null"))
        self.server = ServerService(
            self.network,
            options,
            self._stopped,
            store_id=STORES[ME],
            pid=1,
            random=Random(1),
            wall=lambda: int(1000 * (1.7e9 + self.network.seconds())),
        )
        self.server.startService()
        self.network.settle()
        for shard in (FOLLOWED, LEARNT):
            self.end_at("peer").transport.write(framed(peer_wire.FAMILY, Configure(SERVER_MAP.shards[shard])))
        begin = BeginFill(LEARNT, 2, FillKind.FROM_NOTHING, 7, version_of(2, 1))
        self.end_at("peer").transport.write(framed(peer_wire.FAMILY, begin))
        self.pass_time(0.1)
        self._setting_up = False
        assert set(self.ends) >= {"coordinator", "follower", "learner", "peer"}, list(self.ends)

    def _stopped(self) -> None:
        self.ended = True

    def _coordinator_dialled(self, end: FarEnd, hello: Hello) -> HelloReply | None:
        self.ends["coordinator"] = end
        end.heard = self._coordinator_heard
        return None if "coordinator" in self.withheld else COORDINATOR_REPLY

    def _coordinator_heard(self, end: FarEnd, frame: Frame) -> None:
        if frame[0] == coordinator_wire.STARTED and self._setting_up:
            reply = framed(coordinator_wire.FAMILY, StartedReply(0, ME, 200, ""), frame[2])
            end.transport.write(reply + framed(coordinator_wire.FAMILY, MapUpdate(SERVER_MAP)))

    def _other_dialled(self, end: FarEnd, hello: Hello) -> HelloReply | None:
        seat = "follower" if hello.role is Role.PEER else "learner"
        self.ends[seat] = end
        if seat == "follower":
            end.heard = self._follower_heard
        return None if seat in self.withheld else OTHER_REPLY

    def _follower_heard(self, end: FarEnd, frame: Frame) -> None:
        """Acknowledge until the first word of the script has been said there."""
        if frame[0] == peer_wire.REPLICATE and not end.said:
            number = peer_wire.decode_replicate(frame[3]).number
            end.transport.write(framed(peer_wire.FAMILY, Ack(number, number, [])))

    def reopen(self, seat: str) -> None:
        role = {"client": Role.CLIENT, "peer": Role.PEER, "transfer": Role.TRANSFER}.get(seat)
        if role is not None:
            identity = b"c" * 16 if role is Role.CLIENT else STORES[2]
            hello = make_hello(role, "", 0 if role is Role.CLIENT else 2, identity)
            self.ends[seat] = dialled(self.network, self.server.port, hello)
        elif seat == "stranger":
            self.ends[seat] = dialled(self.network, self.server.port, None)

    def play(self, steps: list[Step]) -> None:
        talking = {self.seats[step.seat % len(self.seats)] for step in steps if step.deed is not Deed.WAIT}
        self.only_clients = talking <= {"client"}
        super().play(steps)

    def phrases(self, seat: str) -> list[bytes]:
        return SERVER_PHRASES[seat]

    def decode(self, seat: str, frame: Frame) -> object:
        message_type, _, _, body = frame
        if seat in ("client", "stranger"):
            return None
        if seat == "coordinator":
            return coordinator_wire.FAMILY.decode(message_type, body)
        allowed = {
            "peer": (peer_wire.CONFIGURE, peer_wire.REPLICATE, peer_wire.BEGIN_FILL),
            "transfer": (peer_wire.FILL_CHUNK, peer_wire.FILL_SESSIONS, peer_wire.FILL_END),
            "follower": (peer_wire.ACK,),
            "learner": (peer_wire.FILL_ACK,),
        }[seat]
        if message_type not in allowed:
            raise ProtocolError("does not belong here")
        return peer_wire.FAMILY.decode(message_type, body)

    def check(self) -> None:
        self.pass_time(0.5)
        if self.ended:
            return
        end = dialled(self.network, self.server.port, make_hello(Role.CLIENT, "", 0, b"p" * 16))
        key = KEYS[SOLE]
        requests = [Noop(), Put(1, 1, 0, key, b"probe"), Get(key)] if self.only_clients else [Noop()]
        for number, request in enumerate(requests, start=7):
            end.say(framed(client_wire.FAMILY, request, number))
        self.pass_time(0.1)
        answers = {frame[2]: decode_result(frame[3]) for frame in end.frames if frame[0] == RESULT}
        assert [answers[number].status for number in range(7, 7 + len(requests))] == [0] * len(requests)
        if self.only_clients:
            assert answers[9].value == b"probe"

    def close(self) -> None:
        self.server.coordinator_ends_us = True
        stopping = self.server.stopService()
        self.network.pump_seconds(8, 0.1)
        assert stopping.called, "the server does not stop"


def _replicate(shard: int, first: int, *records: tuple[bytes, bytes], number: int = 1, commit: int = 0) -> Replicate:
    entries = b"".join(
        encode_entry(slot_of(key), key, make_record(version_of(2, first + i), 0, value), ONE, i + 1, 1, b"d" * 16, b"")
        for i, (key, value) in enumerate(records)
    )
    return Replicate(number, [Section(shard, 2, commit, first, len(records), entries)])


def _several(shard: int, sequence: int) -> Section:
    """An update of a key that expires soon, and of one that is deleted."""
    version = version_of(2, sequence)
    soon = make_expiring_record(version, 1_700_000_100_200, b"v")
    packed = version.to_bytes(8, "big") + encode_records(PAIRS[shard], [soon, make_record(version, 1, b"")])
    entry = encode_entry(slot_of(KEYS[shard]), b"", packed, SEVERAL, 5, 1, b"d" * 16, b"+OK\r\n")
    return Section(shard, 2, 0, sequence, 1, entry)


def _commands(number: int, key: bytes, *commands: list[bytes], watched: list[Watched] | None = None) -> Execute:
    return Execute(
        number,
        min(number, 1),
        0,
        slot_of(key),
        2,
        ExecuteMode.SINGLE if watched is None else ExecuteMode.TRANSACTION,
        watched or [],
        list(commands),
    )


def _server_phrases() -> dict[str, list[bytes]]:
    of_client, of_peer, of_coordinator = client_wire.FAMILY, peer_wire.FAMILY, coordinator_wire.FAMILY
    shards = SERVER_MAP.shards
    keys = list(KEYS.values())
    key = KEYS[LED]
    pin = SERVER_MAP.shards[LED].epoch << 32 | 1
    requests = [
        *(Put(n, 1, 0, key, b"v%d" % n) for n, key in enumerate(keys, start=1)),
        *(Get(key) for key in keys[:2]),
        Delete(6, 1, 0, keys[SOLE]),
        Cas(7, 1, 0, 0, keys[SOLE], b"w"),
        Incr(8, 1, 0, 5, keys[SOLE] + b"0"),
        Verify(keys[FOLLOWED]),
        Scan(0, b"", 10, b"", True),
        MapRequest(True),
        Noop(),
        _commands(9, keys[SOLE], [b"SET", keys[SOLE], b"v", b"PX", b"100"]),
        _commands(0, keys[SOLE], [b"GET", keys[SOLE]]),
        _commands(10, keys[LED], [b"SET", keys[LED], b"v"], [b"INCR", keys[LED] + b"0"], watched=[Watched(key, 0)]),
        PutMany(11, 1, 0, slot_of(keys[SOLE]), PAIRS[SOLE], [b"v", b"vv"]),
        GetMany(slot_of(keys[SOLE]), [*PAIRS[SOLE], keys[SOLE]]),
        PutMany(12, 1, 0, slot_of(keys[LED]), [keys[LED], keys[SOLE]], [b"", b""]),
        BackupBegin(slot_of(keys[LED])),
        BackupRecords(slot_of(keys[SOLE]), b"", 0, b""),
        BackupRecords(0, b"a", pin, b"k"),
        BackupLog(slot_of(keys[LED]), pin, 0),
        BackupEnd(slot_of(keys[LED]), pin),
    ]
    record = make_record(version_of(2, 1), 0, b"v")
    key = KEYS[LEARNT]
    packed = encode_records([key], [record])
    sessions = bytes(8) + b"e" * 16 + bytes(7) + b"\x01" + bytes(7) + b"\x09" + bytes(3) + b"\x01" + bytes(20)
    other = Member(2, STORES[2])
    taken = Configuration(SOLE, 0, SHARD_SLOTS - 1, 3, 1, other, (), (shards[SOLE].primary,), False, False, (2,))
    return {
        "client": [framed(of_client, request, n) for n, request in enumerate(requests, start=1)],
        "peer": [
            framed(of_peer, Configure(shards[FOLLOWED])),
            framed(of_peer, _replicate(FOLLOWED, 1, (KEYS[FOLLOWED], b"v"), (KEYS[FOLLOWED], b"w"))),
            framed(of_peer, _replicate(FOLLOWED, 1, commit=2)),
            framed(of_peer, BeginFill(LEARNT, 2, FillKind.FROM_NOTHING, 8, version_of(2, 4))),
            framed(of_peer, _replicate(LEARNT, 2, (KEYS[LEARNT], b"v"))),
            framed(of_peer, Configure(taken)),
            framed(of_peer, Replicate(2, [_several(FOLLOWED, 1)])),
            framed(of_peer, Replicate(3, [_several(LEARNT, 2)])),
        ],
        "transfer": [
            framed(of_peer, FillChunk(LEARNT, 7, 1, 1, packed)),
            framed(of_peer, FillSessions(LEARNT, 7, 2, sessions)),
            framed(of_peer, FillEnd(LEARNT, 7, 3)),
        ],
        "coordinator": [
            framed(of_coordinator, MapUpdate(SERVER_MAP)),
            framed(of_coordinator, Seal(SOLE, 5), 4),
            framed(of_coordinator, UpdatePrimary(shards[FILLED])),
            framed(of_coordinator, UpdateSecondary(taken)),
            framed(of_coordinator, SwitchPrimary(LED, 2, 2), 5),
            framed(of_coordinator, DumpPrimary(), 6),
            framed(of_coordinator, DumpSecondary(), 7),
            framed(of_coordinator, StartedReply(0, ME, 200, ""), 1),
            framed(of_coordinator, Result(0, 0, b""), 1),
            framed(of_coordinator, Shutdown()),
            encode_frame(HELLO_REPLY_TYPE, HELLO_REPLY.encode(COORDINATOR_REPLY)),
        ],
        "follower": [
            framed(of_peer, Ack(1, 1, [])),
            framed(of_peer, Ack(9, 9, [RefusedSection(LED, Refusal.GAP, 2, 0)])),
            framed(of_peer, Ack(9, 9, [RefusedSection(FILLED, Refusal.NOT_A_MEMBER, 2, 0)])),
            framed(of_peer, Ack(9, 9, [RefusedSection(LED, Refusal.OLD_EPOCH, 9, 0)])),
            encode_frame(HELLO_REPLY_TYPE, HELLO_REPLY.encode(OTHER_REPLY)),
        ],
        "learner": [
            framed(of_peer, FillAck(FILLED, 2 << 10 | 1, 1, False)),
            framed(of_peer, FillAck(FILLED, 2 << 10 | 1, 2, False)),
            framed(of_peer, FillAck(FILLED, 2 << 10 | 1, 1, True)),
            encode_frame(HELLO_REPLY_TYPE, HELLO_REPLY.encode(OTHER_REPLY)),
        ],
        "stranger": [encode_frame(HELLO_TYPE, HELLO.encode(make_hello(role, "", 2, STORES[2]))) for role in Role]
        + [example.frame for example in EXAMPLES[:4]],
    }


SERVER_PHRASES = _server_phrases()


def check_server(data: bytes) -> None:
    """A script for a server's connections."""
    check_scene(ServerScene, data)
