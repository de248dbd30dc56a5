"""A client, and everything that its coordinator and servers can answer."""

from __future__ import annotations

from random import Random
from types import MappingProxyType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.fuzz.scene import STORES, Scene, check_scene, framed
from tests.fuzz.seats import FarEnd, Listening
from tests.support.transport import MemoryNetwork
from twistedkv.client import Client
from twistedkv.client.operations import Operation
from twistedkv.client.results import Incremented, Value
from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.columns import encode_column
from twistedkv.errors import Status, TwistedKVError
from twistedkv.messages.client import (
    GetMany,
    MapUpdate,
    PutMany,
    Result,
    ScanItem,
    ScanPage,
)
from twistedkv.messages.coordinator import (
    AdminReply,
)
from twistedkv.messages.hello import Hello, HelloReply
from twistedkv.records import make_expiring_record, make_record
from twistedkv.slots import slot_of
from twistedkv.wire import client as client_wire
from twistedkv.wire import coordinator as coordinator_wire
from twistedkv.wire.client import GET_MANY, PUT_MANY, SCAN_PAGE
from twistedkv.wire.frames import Frame, encode_frame
from twistedkv.wire.shared import HELLO_REPLY, HELLO_REPLY_TYPE


class ClientScene(Scene):
    """A client in the middle of operations of each kind, whose coordinator and servers say what they like."""

    seats = ("coordinator", "first", "second")

    def __init__(self) -> None:
        super().__init__()
        self.network = MemoryNetwork()
        self.network.advance(100)
        self.map = _client_map()
        self._honest = True
        for port, seat in ((7400, "coordinator"), (7401, "first"), (7402, "second")):
            self.network.listenTCP(port, Listening(self._dialled(seat)), interface="127.0.0.1")
        self.client = Client("127.0.0.1:7400", reactor=self.network, client_id=b"c" * 16, random=Random(1), deadline=3)
        self.outcomes: dict[str, list[Any]] = {}
        self.network.settle()
        self._begin()
        self.pass_time(0.1)
        self._honest = False

    def _dialled(self, seat: str) -> Any:
        server_id = ("coordinator", "first", "second").index(seat)

        def answer(end: FarEnd, hello: Hello) -> HelloReply | None:
            self.ends[seat] = end
            end.heard = self._heard
            return None if seat in self.withheld else _reply_of(server_id)

        return answer

    def _heard(self, end: FarEnd, frame: Frame) -> None:
        """The map is given to whoever asks for it at the beginning; all else is for the script to answer."""
        if frame[0] == client_wire.CONFIG_REQ and self._honest:
            end.transport.write(framed(client_wire.FAMILY, MapUpdate(self.map), frame[2]))

    def _begin(self) -> None:
        client, outcomes = self.client, self.outcomes
        for server, key in ((1, _key_of(0)), (2, _key_of(1))):
            calls = {
                "get": client.get(key),
                "put": client.put(key, b"v"),
                "delete": client.delete(key),
                "cas": client.cas(key, b"w", 7),
                "incr": client.incr(key, 3),
                "scan": client.scan_page(slot_of(key)),
                "verify": client.verify(key, b"v"),
                "noop": client.noop(server),
                "mget": client.mget([key, key + b"0"]),
                "put many": self._several(PUT_MANY, PutMany(0, 0, 0, slot_of(key), [key, _beside(key)], [b"v", b""])),
                "get many": self._several(GET_MANY, GetMany(slot_of(key), [key, _beside(key), key])),
            }
            if server == 1:
                calls |= {"status": client.admin("status"), "switch": client.admin("switch", shard=1, server=2)}
            for name, call in calls.items():
                call.addBoth(outcomes.setdefault(name, []).append)
        self.following = client.admin_follow(lambda event: None)
        self.following.done.addBoth(outcomes.setdefault("follow", []).append)

    def _several(self, kind: int, message: PutMany | GetMany) -> Deferred[Any]:
        """As the line port asks for several keys."""
        told: Deferred[Any] = Deferred()
        self.client.begin(Operation(kind, b"", message.slot, self.client.deadline_at(None), told, message))
        return told

    def reopen(self, seat: str) -> None:
        pass  # the client dials

    def phrases(self, seat: str) -> list[bytes]:
        return CLIENT_PHRASES

    def decode(self, seat: str, frame: Frame) -> object:
        return None  # what is no answer to anything is dropped, so only what is no frame must end it

    def check(self) -> None:
        self.pass_time(0.5)
        for name, found in self.outcomes.items():
            for outcome in found:
                if isinstance(outcome, Failure):
                    assert outcome.check(TwistedKVError), f"{name}: {outcome}"
                else:
                    assert isinstance(outcome, RESULTS[name]), f"{name}: {outcome!r}"

    def close(self) -> None:
        closing = self.client.close()
        self.network.pump_seconds(5, 0.1)
        assert closing.called
        self.following.stop()
        self.check()
        assert {name: len(found) for name, found in self.outcomes.items()} == {
            name: 1 if name in ("status", "switch", "follow") else 2 for name in RESULTS
        }


RESULTS: dict[str, Any] = {
    "get": Value | None,
    "put": int,
    "delete": int | None,
    "cas": int,
    "incr": Incremented,
    "scan": ScanPage,
    "verify": list,
    "noop": None | Result,
    "mget": dict,
    "put many": int,
    "get many": list,
    "status": dict,
    "switch": dict,
    "follow": None,
}
RESULTS = {name: type(None) if kind is None else kind for name, kind in RESULTS.items()}


def _reply_of(server_id: int) -> HelloReply:
    return HelloReply(0, 1, "test", server_id, STORES.get(server_id, b"c" * 16), "")


def _client_map() -> ClusterMap:
    members = [Member(server_id, STORES[server_id]) for server_id in (1, 2)]
    servers = {
        m.server_id: Server(m.server_id, m.store_id, "127.0.0.1", 7400 + m.server_id, ServerState.ACTIVE)
        for m in members
    }
    shards = [
        Configuration(0, 0, 8191, 2, 1, members[0], (members[1],), (), True, False, (1, 2)),
        Configuration(1, 8192, 16383, 2, 1, members[1], (members[0],), (), True, False, (2, 1)),
    ]
    return ClusterMap("test", 3, 2, 1, 200, MappingProxyType(servers), tuple(shards))


def _key_of(shard: int) -> bytes:
    return next(b"a%d" % n for n in range(1000) if slot_of(b"a%d" % n) // 8192 == shard)


def _beside(key: bytes) -> bytes:
    """Another key of the same slot."""
    return b"{%b}2" % key


def _client_phrases() -> list[bytes]:
    family = client_wire.FAMILY
    the_map = _client_map()
    answers = [Result(int(status), 5, b"") for status in Status]
    answers += [Result(0, 7, b"12"), Result(99, 7, b"what")]
    record = make_record(5, 0, b"v")
    columns = [[record], [record, b""], [b"", make_expiring_record(5, 9, b"v"), record], [record] * 4, [b"short"], []]
    answers += [Result(0, 0, encode_column(records)) for records in columns]
    pages = [
        ScanPage(8192, b"", [ScanItem(b"a", 5, b"v")]),
        ScanPage(16384, b"", []),
    ]
    phrases = [framed(family, answer, n + 1) for n, answer in enumerate(answers)]
    phrases += [encode_frame(SCAN_PAGE, family.layouts[SCAN_PAGE].encode(page), 6) for page in pages]
    phrases += [framed(family, MapUpdate(the_map.changed(shards=[the_map.shards[0]])))]
    replies = [AdminReply(0, b"{}"), AdminReply(2, b'{"error": "no"}'), AdminReply(0, b'{"events": [{"number": 3}]}')]
    phrases += [encode_frame(HELLO_REPLY_TYPE, HELLO_REPLY.encode(_reply_of(server_id))) for server_id in range(3)]
    return phrases + [framed(coordinator_wire.FAMILY, reply, n) for n, reply in enumerate(replies, start=2)]


CLIENT_PHRASES = _client_phrases()


def check_client(data: bytes) -> None:
    """A script for a client's connections."""
    check_scene(ClientScene, data)
