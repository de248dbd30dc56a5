"""Where the time of a request of the line port goes, in one process, without sockets.

    python -m benchmarks.stages [--in-flight 16] [--profile]

A server that is the only member of its one shard, and a secondary that applies what it would be sent. Fifty clients
send a burst each, then the turn ends. Each figure is the least of many rounds, in microseconds for each request: the
least, because everything else that this machine does can only add to it.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import time
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

from twisted.internet.task import Clock

from twistedkv.client.twisted import Client
from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.core.lease import Timing
from twistedkv.core.server import ServerCore
from twistedkv.limits import SLOTS
from twistedkv.line.conversation import Conversation
from twistedkv.line.desk import Desk
from twistedkv.line.functions import table
from twistedkv.messages.peer import Replicate, Section
from twistedkv.resp import replies
from twistedkv.resp.requests import RequestParser
from twistedkv.service.config import ServerOptions
from twistedkv.service.server import ServerService
from twistedkv.storage.memory import MemoryStore
from twistedkv.wire.peer import decode_replicate, encode_replicate

CLIENTS = 50
ROUNDS = 60
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


def a_map(*secondaries: Member) -> ClusterMap:
    """One shard, of which ME is primary."""
    shard = Configuration(0, 0, SLOTS - 1, 1, 1, ME, secondaries, (), True, False, (1, 2))
    servers = {m.server_id: Server(m.server_id, m.store_id, "h", 1, ServerState.ACTIVE) for m in (ME, OTHER)}
    return ClusterMap("bench", 1, 1, 1, 200, MappingProxyType(servers), (shard,))


def _nothing() -> None:
    pass


class Stage:
    """The server and its clients."""

    def __init__(self) -> None:
        self.reactor = _Reactor()
        self.server = ServerService(self.reactor, ServerOptions(server_id=1), lambda: None, store_id=ME.store_id)
        clock = self.reactor.seconds
        core = self.server.core = ServerCore(ME, MemoryStore(), Timing.of(0.2), clock, lambda: 1_700_000_000_000)
        core.map_received(a_map(), 0.0)
        core.flush(0.0)
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

    def _write(self, data: bytes) -> None:
        self.sent += len(data)

    def fill(self) -> None:
        """Store all keys."""
        for first in range(0, KEYS, 2000):
            keys = [b"key:%012d" % number for number in range(first, first + 2000)]
            self.talkers[0].received(b"".join(replies.bulks([b"SET", key, VALUE]) for key in keys))
            self.end()

    def receive(self, bursts: list[bytes]) -> None:
        """Every client sends a burst."""
        for talker, burst in zip(self.talkers, bursts, strict=True):
            talker.received(burst)

    def end(self) -> None:
        """The turn ends, and everybody has been answered."""
        while self.reactor.getDelayedCalls() and min(call.getTime() for call in self.reactor.getDelayedCalls()) <= 0:
            self.reactor.advance_turn()


def bursts_of(operation: str, in_flight: int, chance: random.Random) -> list[bytes]:
    """What each client sends at once."""

    def request() -> bytes:
        key = b"key:%012d" % chance.randrange(KEYS)
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

    def received() -> None:
        stage.end()
        stage.receive(bursts_of(operation, in_flight, chance))

    yield "execute, apply, reply", least(ROUNDS, received, lambda _: stage.end(), count)
    if operation == "SET":
        yield "replicate: the secondary", _secondary(stage, in_flight, chance)


def _secondary(stage: Stage, in_flight: int, chance: random.Random) -> float:
    """Decode and apply what a primary sends of a turn."""
    core = ServerCore(OTHER, MemoryStore(), Timing.of(0.2), lambda: 0.0, lambda: 0)
    core.map_received(a_map(OTHER), 0.0)
    replica = stage.server.core.replicas[0]  # type: ignore[union-attr]
    core.replicas[0].last = replica.last
    number = 0

    def sent() -> bytes:
        nonlocal number
        stage.receive(bursts_of("SET", in_flight, chance))
        for give in stage.server.before_flush:
            give()
        first, entries = replica.sequence - len(replica.unsent) + 1, list(replica.unsent)
        stage.end()
        number += 1
        section = Section(0, 1, replica.commit, first, len(entries), b"".join(entries))
        return encode_replicate(Replicate(number, [section]))

    def apply(body: bytes) -> None:
        core.replicate(decode_replicate(body), 0.0)

    return least(ROUNDS, sent, apply, CLIENTS * in_flight)


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
