"""Where the time of a request of the line port goes, in one process, the sockets apart from the rest.

    python -m benchmarks.stages [--in-flight 16] [--profile]

A server that is primary of all shards, and one that has the other copies, with bytes passed from one to the other.
Fifty clients send a burst each, then the turn ends. Each figure is the least of many rounds, in microseconds for each
request: the least, because everything else that this machine does can only add to it.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import socket
import time
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

from twisted.internet.task import Clock

from twistedkv.client.twisted import Client
from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.core.handshake import make_hello
from twistedkv.core.lease import Timing
from twistedkv.core.server import ServerCore
from twistedkv.line.conversation import Conversation
from twistedkv.line.desk import Desk
from twistedkv.line.functions import table
from twistedkv.messages.hello import Role
from twistedkv.net.peer import PeerReceiver, PeerSender
from twistedkv.resp import replies
from twistedkv.resp.requests import RequestParser
from twistedkv.service.config import ServerOptions
from twistedkv.service.server import ServerService
from twistedkv.slots import slot_ranges
from twistedkv.storage.memory import MemoryStore
from twistedkv.wire.frames import Frame, FrameDecoder, encode_frame

CLIENTS = 50
ROUNDS = 60
SHARDS = 4
KEYS = 100_000
VALUE = bytes(range(33, 127))[:100].ljust(100, b"v")
ME, OTHER = Member(1, b"1" * 16), Member(2, b"2" * 16)


class _Reactor(Clock):
    """Time that stands still, and no connections."""

    def connectTCP(self, *_: Any, **__: Any) -> Any:
        return None

    def advance_turn(self) -> None:
        """Do what waits for the end of the turn."""
        self.advance(0)


def a_map() -> ClusterMap:
    """SHARDS shards, of all of which ME is primary, and OTHER the secondary."""
    shards = tuple(
        Configuration(number, first, last, 1, 1, ME, (OTHER,), (), True, False, (1, 2))
        for number, (first, last) in enumerate(slot_ranges(SHARDS))
    )
    servers = {m.server_id: Server(m.server_id, m.store_id, "h", 1, ServerState.ACTIVE) for m in (ME, OTHER)}
    return ClusterMap("bench", 1, 1, 1, 200, MappingProxyType(servers), shards)


def _nothing() -> None:
    pass


class _Wire:
    """In place of a connection: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.decoder = FrameDecoder()

    def send_bytes(self, data: bytes) -> None:
        """Whole frames."""
        self.sent.append(data)

    def send(self, message_type: int, body: bytes) -> None:
        """One frame."""
        self.sent.append(encode_frame(message_type, body))

    def frames(self) -> list[Frame]:
        """What was sent, as it is received."""
        data = b"".join(self.sent)
        self.sent.clear()
        return self.decoder.feed(data)


class Stage:
    """A server with its clients, and the server that has the other copies."""

    def __init__(self) -> None:
        self.reactor = _Reactor()
        clock = self.reactor.seconds
        self.server, self.other = (
            ServerService(self.reactor, ServerOptions(server_id=me.server_id), lambda: None, store_id=me.store_id)
            for me in (ME, OTHER)
        )
        for me, server in ((ME, self.server), (OTHER, self.other)):
            server.core = ServerCore(me, MemoryStore(), Timing.of(0.2), clock, lambda: 1_700_000_000_000)
            server.core.map_received(a_map(), 0.0)
        wire: Any = _Wire()
        answers: Any = _Wire()
        self._to_other, self._to_us = wire, answers
        sender = PeerSender(wire, OTHER, self.server)
        self._acks = sender.frames_received
        self._entries = PeerReceiver(
            answers, make_hello(Role.PEER, "bench", 1, ME.store_id), self.other
        ).frames_received
        self.server.links.sender = lambda member: sender  # type: ignore[method-assign]
        assert self.server.core is not None
        self.server.core.peer_connected(OTHER)
        client = Client(reactor=self.reactor, random=random.Random(1))
        client.router.map = a_map()
        client.router.map_changed()
        functions = table(random.Random(1))
        self.desk = Desk(self.server, client, lambda: 1_700_000_000_000, functions, moved=False)
        self.sent = 0
        self.talkers = [
            Conversation(self.desk, number, "c", "s", self._write, _nothing, _nothing) for number in range(CLIENTS)
        ]
        self.desk.conversations = {each.number: each for each in self.talkers}
        self.end()

    def _write(self, data: bytes) -> None:
        self.sent += len(data)

    def fill(self, keys_in_all: int = KEYS) -> None:
        """Store the first keys."""
        for first in range(0, keys_in_all, 2000):
            keys = [b"key:%012d" % number for number in range(first, first + 2000)]
            self.talkers[0].received(b"".join(replies.bulks([b"SET", key, VALUE]) for key in keys))
            self.end()

    def receive(self, bursts: list[bytes]) -> None:
        """Every client sends a burst."""
        for talker, burst in zip(self.talkers, bursts, strict=True):
            talker.received(burst)

    def execute(self) -> None:
        """The turn ends."""
        while self.reactor.getDelayedCalls() and min(call.getTime() for call in self.reactor.getDelayedCalls()) <= 0:
            self.reactor.advance_turn()

    def replicate(self) -> None:
        """The other server receives what it was sent, and acknowledges it."""
        self._entries(self._to_other.frames())
        self.execute()

    def acknowledged(self) -> None:
        """The acknowledgement is there: everybody is answered."""
        self._acks(self._to_us.frames())
        self.execute()

    def end(self) -> None:
        """All of these."""
        self.execute()
        self.replicate()
        self.acknowledged()


def bursts_of(operation: str, in_flight: int, chance: random.Random, keys: int = KEYS) -> list[bytes]:
    """What each client sends at once, of the first keys."""

    def request() -> bytes:
        key = b"key:%012d" % chance.randrange(keys)
        return replies.bulks([b"SET", key, VALUE] if operation == "SET" else [b"GET", key])

    return [b"".join(request() for _ in range(in_flight)) for _ in range(CLIENTS)]


def least(rounds: int, prepare: Callable[[], Any], measured: Callable[[Any], None], count: int) -> float:
    """Microseconds for each of `count` requests, of the fastest round."""
    best = float("inf")
    for _ in range(rounds):
        prepared = prepare()
        began = time.perf_counter()
        measured(prepared)
        best = min(best, time.perf_counter() - began)
    return best * 1e6 / count


def socket_costs(operation: str, in_flight: int, chance: random.Random) -> Iterator[tuple[str, float]]:
    """Reading a burst from a connection over loopback, and writing its answer to one: a call into the kernel each."""
    [burst, *_] = bursts_of(operation, in_flight, chance)
    answer = (replies.OK if operation == "SET" else replies.bulk(VALUE)) * in_flight
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    with theirs, ours:

        def take(connection: socket.socket, left: int) -> None:
            while left:
                left -= len(connection.recv(65536))

        read = least(ROUNDS, lambda: theirs.sendall(burst), lambda _: take(ours, len(burst)), in_flight)
        yield "read", read
        written = least(ROUNDS, lambda: None, lambda _: ours.sendall(answer), in_flight)
        yield "write", written


def stages(operation: str, in_flight: int) -> Iterator[tuple[str, float]]:
    """Names and microseconds."""
    chance = random.Random(2)
    count = CLIENTS * in_flight
    stage = Stage()
    stage.fill()

    def parse(bursts: list[bytes]) -> None:
        for burst in bursts:
            RequestParser().feed(burst)

    yield "parse", least(ROUNDS, lambda: bursts_of(operation, in_flight, chance), parse, count)

    def begun() -> list[bytes]:
        stage.end()
        return bursts_of(operation, in_flight, chance)

    yield "parse and begin", least(ROUNDS, begun, stage.receive, count)

    def after(*steps: Callable[[], None]) -> Callable[[], None]:
        def prepare() -> None:
            stage.end()
            stage.receive(bursts_of(operation, in_flight, chance))
            for step in steps:
                step()

        return prepare

    yield "end of the turn", least(ROUNDS, after(), lambda _: stage.execute(), count)
    if operation == "SET":
        yield "the other copy", least(ROUNDS, after(stage.execute), lambda _: stage.replicate(), count)
        steps = after(stage.execute, stage.replicate)
        yield "commit and reply", least(ROUNDS, steps, lambda _: stage.acknowledged(), count)
    yield from socket_costs(operation, in_flight, chance)


def main() -> None:
    """Print the table, or profiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", type=int, nargs="*", default=[1, 16, 128])
    parser.add_argument("--profile", action="store_true", help="print where Python spends the time of SET and GET")
    options = parser.parse_args()
    for operation in ("SET", "GET"):
        for in_flight in options.in_flight:
            if options.profile:
                stage, chance = Stage(), random.Random(3)
                profile = cProfile.Profile()
                for _ in range(20):
                    bursts = bursts_of(operation, in_flight, chance)
                    profile.enable()
                    stage.receive(bursts)
                    stage.end()
                    profile.disable()
                print(f"{operation}, {in_flight} in flight on each of {CLIENTS} connections")
                pstats.Stats(profile).sort_stats("tottime").print_stats(25)
            else:
                figures = ", ".join(f"{name} {cost:.2f}" for name, cost in stages(operation, in_flight))
                print(f"{operation} {in_flight:>3} in flight: {figures}")


if __name__ == "__main__":
    main()
