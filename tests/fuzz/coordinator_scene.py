"""A coordinator, and everything that servers and operators can say to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fuzz.scene import STORES, Scene, check_scene, framed
from tests.fuzz.seats import FarEnd, dialled
from tests.service.coordinating import Coordination, FakeServer, Operator
from tests.wire.examples import EXAMPLES
from twistedkv.core.handshake import make_hello
from twistedkv.messages.client import (
    Get,
    MapRequest,
    Noop,
    Result,
)
from twistedkv.messages.coordinator import (
    AdminRequest,
    FillReport,
    Heartbeat,
    Leaving,
    Relinquished,
    Remove,
    ReplicaRole,
    Sealed,
    ShardReport,
    Started,
    UpdatedPrimary,
    UpdatedSecondary,
    UpdatePrimaryFailed,
    UpdateSecondaryFailed,
)
from twistedkv.messages.hello import Role
from twistedkv.service.config import CoordinatorOptions
from twistedkv.wire import client as client_wire
from twistedkv.wire import coordinator as coordinator_wire
from twistedkv.wire.frames import Frame, encode_frame
from twistedkv.wire.shared import HELLO, HELLO_TYPE

COORDINATOR_OPTIONS = CoordinatorOptions(
    cluster="test", port=7400, servers=2, copies=2, shards=4, base_dir=Path("/nonexistent")
)


class CoordinatorScene(Scene):
    """A coordinator with two servers. One of them is bad, the other one good."""

    seats = ("member", "newcomer", "operator", "stranger")

    def __init__(self) -> None:
        super().__init__()
        self.coordination = Coordination(COORDINATOR_OPTIONS).start(2)
        self.network = self.coordination.machine
        self.bad, self.good = self.coordination.servers
        self.bad.obeys = False
        self._adopt(self.bad)

    def _adopt(self, server: FakeServer) -> None:
        """Play a server's connection."""
        connection = server.connection
        end = self.ends["member"] = FarEnd()
        if connection is not None:
            end.open = True
            end.transport = connection.transport
            lost = connection.connectionLost

            def connection_lost(reason: Any = None) -> None:
                end.open = False
                lost(reason)

            connection.connectionLost = connection_lost  # type: ignore[method-assign]

    def reopen(self, seat: str) -> None:
        if seat == "member":
            if self.bad.connection is None:
                self.bad.connect()
            self._adopt(self.bad)
        elif seat == "newcomer":
            hello = make_hello(Role.SERVER, "test", 3, STORES[3])
            self.ends[seat] = dialled(self.network, 7400, hello)
        elif seat == "operator":
            self.ends[seat] = dialled(self.network, 7400, make_hello(Role.CLIENT, "", 0, b"o" * 16))
        else:
            self.ends[seat] = dialled(self.network, 7400, None)

    def pass_time(self, seconds: float) -> None:
        self.coordination.pump(seconds)

    def phrases(self, seat: str) -> list[bytes]:
        return _coordinator_phrases(self)[seat]

    def decode(self, seat: str, frame: Frame) -> object:
        message_type, _, _, body = frame
        if seat == "stranger":
            return None
        if seat != "operator":
            return coordinator_wire.FAMILY.decode(message_type, body)
        if message_type == coordinator_wire.ADMIN:
            return coordinator_wire.FAMILY.decode(message_type, body)
        return client_wire.decode_request(message_type, body)

    def check(self) -> None:
        self.pass_time(0.5)
        operator = Operator(self.coordination)
        answer = operator.ask("status")
        assert "status" not in answer, answer
        operator.request(MapRequest(False))
        assert len(operator.maps) == 1

    def close(self) -> None:
        self.coordination.stop()


def _coordinator_phrases(scene: CoordinatorScene) -> dict[str, list[bytes]]:
    family = coordinator_wire.FAMILY
    bad = scene.bad
    shards = bad.map.shards
    led = next((c for c in shards if c.primary.store_id == bad.store_id), shards[0])
    other = next((m for c in shards for m in c.members if m.store_id != bad.store_id), led.primary)
    reports = [ShardReport(c.shard, c.epoch, ReplicaRole.PRIMARY, 7, 7) for c in shards]
    fills = [FillReport(led.shard, other, 1, 2, 3)]
    member: list[Any] = [
        Heartbeat(bad.server_id, bad.store_id, 1, 1, 10, 1000, reports, fills),
        UpdatedPrimary(led.shard, led.epoch, other),
        UpdatePrimaryFailed(led.shard, led.epoch, other, "why"),
        UpdatedSecondary(led.shard, led.epoch, other),
        UpdateSecondaryFailed(led.shard, led.epoch, other, "why"),
        Remove(led.shard, led.epoch, other, "silent"),
        Leaving(bad.server_id),
        Sealed(led.shard, led.epoch + 1, 7, True),
        Relinquished(led.shard, led.epoch, 7),
        Result(1, 0, b"no"),
    ]
    commands = [
        b'{"command": "status"}',
        b'{"command": "map"}',
        b'{"command": "journal", "after": 1, "follow": true}',
        b'{"command": "journal", "after": 2}',
        b'{"command": "switch", "shard": 0, "server": 2}',
        b'{"command": "switch", "shard": "1", "server": "server_1"}',
        b'{"command": "dump", "server": 1}',
        b'{"command": "accept_loss", "shard": 1}',
        b'{"command": "accept-loss", "shard": "all"}',
    ]
    operator = [framed(family, AdminRequest(text), n) for n, text in enumerate(commands, start=1)]
    operator += [framed(client_wire.FAMILY, request, 9) for request in (MapRequest(True), Noop(), Get(b"k"))]
    return {
        "member": [framed(family, message, 1) for message in member],
        "newcomer": [
            framed(family, Started(3, STORES[3], "127.0.0.1", 7403, 0, 0, 3, False, "memory", []), 1),
            framed(family, Started(0, STORES[3], "127.0.0.1", 7403, 0, 0, 3, True, "", reports), 1),
            framed(family, Started(1, STORES[3], "127.0.0.1", 7403, 0, 0, 3, False, "", reports), 1),
            framed(family, Heartbeat(3, STORES[3], 1, 1, 10, 1000, reports, fills)),
            framed(family, Leaving(3), 2),
        ],
        "operator": operator,
        "stranger": [encode_frame(HELLO_TYPE, HELLO.encode(make_hello(role, "", 4, b"s" * 16))) for role in Role]
        + [example.frame for example in EXAMPLES[:4]],
    }


def check_coordinator(data: bytes) -> None:
    """A script for the coordinator's connections."""
    check_scene(CoordinatorScene, data)
