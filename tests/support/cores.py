"""Several `ServerCore`s in one process, with the messages between them in the test's hands.

Everything passes through the real codec. What is delivered when, who is killed, cut off or promoted, is drawn from one
random stream. The coordinator's part is played here, directly and in its simplest form: seal, promote the longest,
drop who did not answer, add a filled learner. Acknowledged writes and answered reads are checked as they happen.
"""

from __future__ import annotations

import random
from collections import deque
from types import MappingProxyType
from typing import Any
from unittest import mock

import attrs

from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.columns import decode_column
from twistedkv.core import server
from twistedkv.core.lease import Timing
from twistedkv.core.mailbox import Mailbox
from twistedkv.core.server import ServerCore
from twistedkv.errors import Status
from twistedkv.limits import EXPIRED_KEYS_MAX
from twistedkv.messages.client import Cas, Delete, Execute, ExecuteMode, Get, GetMany, Incr, Put, PutMany, Result
from twistedkv.messages.coordinator import (
    Heartbeat,
    Relinquished,
    Remove,
    ReplicaRole,
    Seal,
    SwitchPrimary,
    UpdatedPrimary,
    UpdatedSecondary,
    UpdatePrimaryFailed,
    UpdateSecondaryFailed,
)
from twistedkv.messages.peer import BeginFill, Configure, Replicate
from twistedkv.records import RECORD_BYTES_MAX, record_value, record_version
from twistedkv.slots import slot_of
from twistedkv.storage.memory import MemoryStore
from twistedkv.wire import peer as peer_wire
from twistedkv.wire.client import decode_result, encode_request
from twistedkv.wire.frames import RETRY, FrameDecoder

HEARTBEAT = 0.2
READS = ("get", "pair", "fleeting get", "fleeting read", "twin read")
"""Kinds of operations that have no number."""
SETTLE_STEPS_MAX = 3000  # of 20 ms: a minute
COMMANDS = ("set", "del", "command incr", "transaction", "pair", "fleeting set", "fleeting get")
"""Kinds of operations that are commands of the line port."""
PAIR = (b"one of two", b"two of two")
"""Keys that are only ever incremented together."""
TWINS = (b"one twin", b"another twin", b"a third one")
"""Keys that are only ever stored together."""
PLAIN = (*PAIR, *TWINS, b"counter", b"key0", b"key1", b"key2", b"key3")
"""All that do not expire."""


@attrs.define(eq=False)
class Node:
    """A server: its core, and whether it runs."""

    core: ServerCore
    incarnation: int
    alive: bool = True
    frozen: bool = False


@attrs.define(eq=False)
class Operation:
    """A client's operation and what became of it."""

    kind: str
    key: bytes
    request: Any
    began: float
    client: Client
    retried: bool = False
    done: bool = False
    server: int = 0
    floor: int = 0
    """For a read: newest version known to be acknowledged when it began."""


class Client:
    """Sends one operation at a time, and sends it again until it has an answer."""

    def __init__(self, identity: bytes) -> None:
        self.identity = identity
        self.number = 0
        self.since = 0
        self.operation: Operation | None = None
        self.request_id = 0
        self.fleeting: bytes | None = None
        """Value of this client's own key that expires; None: it has been seen to be gone, or was never stored."""

    @property
    def fleeting_key(self) -> bytes:
        """A key that only this client stores, always so that it expires soon."""
        return b"fleeting%d" % self.identity[0]


class CoreCluster:
    """The cluster, one shard unless told otherwise, and the checks."""

    def __init__(self, seed: int, servers: int = 4, copies: int = 2, clients: int = 3, shards: int = 1) -> None:
        self.random = random.Random(seed)
        self.now = 100.0
        self.wall_ahead = 0.0
        """Seconds by which wall clocks have moved between ticks: else the background would find all expired keys."""
        self.lazy = self.random.random() < 0.5
        """Whether expired keys are deleted only when somebody asks for them."""
        self.copies = copies
        self.nodes: dict[int, Node] = {}
        self.links: dict[tuple[Member, Member], deque[bytes]] = {}
        self.returns: dict[tuple[Member, Member], deque[bytes]] = {}
        self.cut: set[frozenset[int]] = set()
        self.map = ClusterMap("test", 1, copies, 1, int(HEARTBEAT * 1000), MappingProxyType({}), ())
        self.promised = 1
        self.seen: dict[str, int] = {}
        self.clients = [Client(bytes([i]) * 16) for i in range(1, clients + 1)]
        self.acknowledged: dict[bytes, int] = {}
        """By key the newest version of an acknowledged write or answered read."""
        self.counter_acknowledged: dict[bytes, int] = {}
        self.counter_begun: dict[bytes, int] = {}
        self.sums: set[bytes] = set()
        for server_id in range(1, servers + 1):
            self.start(server_id)
        members = [self.nodes[i].core.me for i in range(1, copies + 1)]
        self.publish(
            Configuration(
                0, 0, 16383, 1, 1, members[0], tuple(members[1:]), (), False, False, tuple(range(1, copies + 1))
            )
        )

    def count(self, what: str) -> None:
        """Remember that something worth having was seen."""
        self.seen[what] = self.seen.get(what, 0) + 1

    # Servers and coordinator.

    def start(self, server_id: int) -> None:
        """A new process, with nothing in memory."""
        incarnation = self.nodes[server_id].incarnation + 1 if server_id in self.nodes else 1
        member = Member(server_id, bytes([server_id, incarnation % 256]) * 8)
        core = ServerCore(member, MemoryStore(), Timing.of(HEARTBEAT), lambda: self.now, lambda: self.wall(server_id))
        self.nodes[server_id] = Node(core, incarnation)
        named = Server(server_id, member.store_id, "test", 1, ServerState.ACTIVE)
        self.map = self.map.changed(servers=[named])
        core.map_received(self.map, self.now)

    def wall(self, server_id: int) -> int:
        """A server's wall clock, in milliseconds since 1970: each is off by another second."""
        return 1_700_000_000_000 + int(1000 * (self.now + self.wall_ahead)) + 1000 * server_id

    @property
    def configuration(self) -> Configuration:
        """The shard's current one."""
        return self.map.shards[0]

    def publish(self, configuration: Configuration) -> None:
        """Store and tell a new configuration; some servers hear of it late, from the primary or never."""
        self.promised = max(self.promised, configuration.epoch)
        self.map = self.map.changed(shards=[configuration])
        for node in self.nodes.values():
            if self.running(node) and self.random.random() < 0.8:
                node.core.map_received(self.map, self.now)
                self.flush(node)

    def retell(self) -> None:
        """The coordinator's heartbeat answers: everybody hears of the newest map in the end."""
        for node in self.nodes.values():
            if self.running(node):
                node.core.map_received(self.map, self.now)
                self.flush(node)

    @staticmethod
    def running(node: Node) -> bool:
        """Whether it can hear."""
        return node.alive and not node.frozen

    def node_of(self, member: Member) -> Node | None:
        """The node that has this member's data, if its process lives."""
        node = self.nodes[member.server_id]
        return node if node.alive and node.core.me == member else None

    def fail_over(self) -> None:
        """Seal whoever can be reached and promote the longest."""
        configuration = self.configuration
        self.promised += 1
        epoch = self.promised
        answers = []
        for member in configuration.members:
            node = self.node_of(member)
            if node is None or node.frozen:
                continue
            # On the coordinator's connection the map always comes before what follows from it.
            node.core.map_received(self.map, self.now)
            sealed = node.core.seal(Seal(0, epoch), self.now)
            self.flush(node)
            if sealed.epoch == epoch and sealed.holds:
                answers.append((sealed.last, member))
        if not answers:
            return
        best = max(answers, key=lambda answer: answer[0])[1]
        others = tuple(member for _, member in answers if member != best)
        dead = self.node_of(configuration.primary) is None
        self.count("failover")
        self.publish(
            attrs.evolve(
                configuration, epoch=epoch, primary=best, secondaries=others, learners=(), released=dead, preferred=()
            )
        )

    def drop(self, member: Member) -> None:
        """A configuration without this secondary or learner."""
        configuration = self.configuration
        self.publish(
            attrs.evolve(
                configuration,
                epoch=self.promised + 1,
                secondaries=tuple(each for each in configuration.secondaries if each != member),
                learners=tuple(each for each in configuration.learners if each != member),
            )
        )

    def add_learner(self) -> None:
        """A server that holds nothing becomes a learner."""
        configuration = self.configuration
        if len(configuration.everyone) >= self.copies or configuration.learners:
            return
        used = {member.server_id for member in configuration.everyone}
        free = [node for i, node in self.nodes.items() if i not in used and self.running(node)]
        if free:
            node = self.random.choice(free)
            self.count("learner")
            self.publish(attrs.evolve(configuration, epoch=self.promised + 1, learners=(node.core.me,)))

    def start_switch(self) -> None:
        """Ask the primary to hand over to a secondary."""
        configuration = self.configuration
        node = self.node_of(configuration.primary)
        if node is not None and not node.frozen and configuration.secondaries:
            target = self.random.choice(configuration.secondaries).server_id
            node.core.switch(SwitchPrimary(0, configuration.epoch, target), target, self.now)
            self.flush(node)

    def coordinator_heard(self, message: Any, request_id: int) -> None:
        """What a server said to the coordinator; acted upon only in the epoch that it was said for."""
        configuration = self.configuration
        if isinstance(message, str | Heartbeat) or message.epoch != configuration.epoch:
            return
        if self.promised > configuration.epoch:
            return
        if isinstance(message, UpdatedPrimary | UpdatedSecondary) and message.learner in configuration.learners:
            self.count("filled")
            self.publish(
                attrs.evolve(
                    configuration,
                    epoch=self.promised + 1,
                    secondaries=(*configuration.secondaries, message.learner),
                    learners=tuple(each for each in configuration.learners if each != message.learner),
                )
            )
        elif isinstance(message, UpdatePrimaryFailed | UpdateSecondaryFailed):
            if message.learner in configuration.learners:
                self.count("fill given up")
                self.drop(message.learner)
        elif isinstance(message, Remove) and message.member in configuration.everyone:
            self.count("removed")
            self.drop(message.member)
        elif isinstance(message, Relinquished):
            target = next(each for each in configuration.secondaries if each.server_id == request_id)
            others = tuple(each for each in configuration.members if each != target)
            self.count("switch")
            self.publish(
                attrs.evolve(configuration, epoch=self.promised + 1, primary=target, secondaries=others, released=True)
            )

    # Messages.

    def reachable(self, a: int, b: int) -> bool:
        """Whether there is no cut between two servers."""
        return frozenset((a, b)) not in self.cut

    def connect(self) -> None:
        """Open the connections that are wanted and possible, close the others."""
        for node in self.nodes.values():
            if not self.running(node):
                continue
            core = node.core
            wanted = core.wanted_peers()
            for pair in [pair for pair in self.links if pair[0] == core.me and pair[1] not in wanted]:
                self.disconnect(pair)
            for member in sorted(wanted, key=lambda member: member.server_id):
                other = self.node_of(member)
                pair = (core.me, member)
                if other is not None and self.reachable(core.me.server_id, member.server_id):
                    if pair not in self.links:
                        self.links[pair], self.returns[pair] = deque(), deque()
                        core.peer_connected(member)
                        self.flush(node)
                elif pair in self.links:
                    self.disconnect(pair)

    def disconnect(self, pair: tuple[Member, Member]) -> None:
        """A connection breaks; what was under way is lost."""
        self.links.pop(pair, None)
        self.returns.pop(pair, None)
        node = self.node_of(pair[0])
        if node is not None:
            node.core.peer_lost(pair[1])

    def flush(self, node: Node) -> None:
        """End the node's turn and put what it says on its way."""
        turn = node.core.flush(self.now)
        for link, messages in turn.frames:
            queue = self.links.get((node.core.me, link.member))
            if queue is not None:
                for message in messages:
                    if isinstance(message, Replicate):
                        queue.append(bytes([peer_wire.REPLICATE]) + peer_wire.encode_replicate(message))
                    else:
                        message_type, body = peer_wire.FAMILY.encode(message)
                        queue.append(bytes([message_type]) + body)
        for mailbox in turn.mailboxes:
            data = mailbox.take()
            if mailbox.open:
                for frame in FrameDecoder().feed(data):
                    self.answered(mailbox.client, frame)
        for message, request_id in turn.to_coordinator:
            self.coordinator_heard(message, request_id)

    def deliver(self, pair: tuple[Member, Member]) -> None:
        """One message of one link arrives."""
        queue = self.links.get(pair)
        node = self.node_of(pair[1])
        if not queue or node is None or node.frozen:
            return
        data = queue.popleft()
        message_type, body = data[0], data[1:]
        if message_type == peer_wire.REPLICATE:
            ack = node.core.replicate(peer_wire.decode_replicate(body), self.now)
            if ack.refused:
                self.count("refused")
            self.returns[pair].append(peer_wire.FAMILY.encode(ack)[1])
        else:
            message = peer_wire.FAMILY.decode(message_type, body)
            if isinstance(message, Configure):
                node.core.configured(message, self.now)
            elif isinstance(message, BeginFill):
                node.core.begin_fill(message)
        self.flush(node)

    def deliver_ack(self, pair: tuple[Member, Member]) -> None:
        """One acknowledgement of one link arrives."""
        queue = self.returns.get(pair)
        node = self.node_of(pair[0])
        if not queue or node is None or node.frozen:
            return
        node.core.acknowledged(pair[1], peer_wire.FAMILY.decode(peer_wire.ACK, queue.popleft()), self.now)
        self.flush(node)

    def stream(self) -> None:
        """One step of each fill."""
        for node in list(self.nodes.values()):
            if not self.running(node):
                continue
            for source in node.core.wanted_fills():
                other = self.node_of(source.follower.member)
                if other is None or other.frozen:
                    continue
                if self.random.random() < 0.1:
                    source.connection_lost()
                message = source.next_message()
                if message is not None:
                    message_type, body = peer_wire.FAMILY.encode(message)
                    ack = other.core.fill_received(peer_wire.FAMILY.decode(message_type, body))
                    source.acknowledged(ack, self.now)
                    self.flush(node)

    # Clients.

    def client_step(self, client: Client) -> None:
        """Begin an operation, or send the one that has no answer again, to whoever the map names."""
        node = self.node_of(self.configuration.primary)
        if self.random.random() < 0.1:
            node = self.random.choice(list(self.nodes.values()))  # with an old map
        if node is None or not self.running(node):
            return
        operation = client.operation
        if operation is None:
            operation = client.operation = self.new_operation(client)
        elif operation.server and operation.kind not in READS:
            operation.retried = True
            self.count("retry")
        operation.server = node.core.me.server_id
        client.request_id += 1
        if operation.kind == "get":
            operation.floor = max(operation.floor, 0)
        message_type, body = encode_request(operation.request)
        mailbox = Mailbox(client.identity, lambda: None)
        flags = RETRY if operation.retried else 0
        node.core.requests(mailbox, [(message_type, flags, client.request_id, body)])
        if self.random.random() < 0.7:
            self.flush(node)

    def new_operation(self, client: Client) -> Operation:
        """Draw one."""
        kind = self.random.choice(
            ["put", "put", "get", "get", "incr", "cas", "delete",
             "set", "del", "command incr", "transaction", "pair",
             "fleeting set", "fleeting get", "fleeting get", "fleeting read", "fleeting read",
             "twins", "twins", "twin read", "twin read"]
        )  # fmt: skip
        key = b"counter" if kind.endswith("incr") else b"key%d" % self.random.randrange(4)
        client.number += kind not in READS
        head = (client.number, client.number, client.since)
        value = b"%d/%d" % (client.identity[0], client.number)
        request: Any
        if kind == "put":
            request = Put(*head, key, value)
        elif kind == "get":
            key = self.random.choice([key, b"counter"])
            request = Get(key)
        elif kind == "fleeting read":
            key = client.fleeting_key
            request = Get(key)
        elif kind == "incr":
            request = Incr(*head, 1, key)
            self.counter_begun[key] = self.counter_begun.get(key, 0) + 1
        elif kind == "twins":
            key = TWINS[0]
            request = PutMany(*head, slot_of(key), list(TWINS), [value] * len(TWINS))
        elif kind == "twin read":
            key = TWINS[0]
            request = GetMany(slot_of(key), [client.fleeting_key, *TWINS])
        elif kind in COMMANDS:
            key, request = self.new_commands(client, kind, key, value)
        elif kind == "cas":
            request = Cas(*head, self.acknowledged.get(key, 0), key, value)
        else:
            request = Delete(*head, key)
        return Operation(kind, key, request, self.now, client, floor=self.acknowledged.get(key, 0))

    def new_commands(self, client: Client, kind: str, key: bytes, value: bytes) -> tuple[bytes, Execute]:
        """Commands of the line port, and the key whose version the answer has."""
        if kind == "command incr":
            self.counter_begun[key] = self.counter_begun.get(key, 0) + 1
        if kind in ("fleeting set", "fleeting get"):
            key = client.fleeting_key
        milliseconds = b"%d" % self.random.choice([20, 100, 400])
        commands = {
            "set": [[b"SET", key, value]],
            "del": [[b"DEL", key]],
            "command incr": [[b"INCR", key]],
            "transaction": [[b"INCR", PAIR[0]], [b"SET", key, value], [b"INCR", PAIR[1]]],
            "pair": [[b"MGET", *PAIR]],
            "fleeting set": [[b"SET", key, value, b"PX", milliseconds]],
            "fleeting get": [[b"GET", key]],
        }[kind]
        head = (0, 0, 0) if kind in READS else (client.number, client.number, client.since)
        return key, Execute(
            *head,
            slot_of(key),
            2,
            ExecuteMode.TRANSACTION if kind == "transaction" else ExecuteMode.SINGLE,
            [],
            commands,
        )

    def answered(self, identity: bytes, frame: tuple[int, int, int, bytes]) -> None:
        """Check an answer and end the operation that it belongs to."""
        client = self.clients[identity[0] - 1]
        operation = client.operation
        if operation is None or frame[2] != client.request_id:
            return
        result = decode_result(frame[3])
        status = Status(result.status)
        if status in (Status.WRONG_SERVER, Status.NOT_PRIMARY_YET, Status.SUPERSEDED):
            self.count(status.name)
            return
        assert status is not Status.INVALID_REQUEST, result.value
        assert status is not Status.UNKNOWN_OUTCOME, "nothing may have been forgotten in so short a run"
        client.operation = None
        self.count(operation.kind)
        if operation.kind == "fleeting read":
            self.was_read(client, result.value if status is Status.SUCCESS else None)
        if status is Status.SUCCESS:
            if operation.kind == "twin read":
                self.was_read_together(client, operation, result)
            client.since = max(client.since, result.version)
            if operation.kind == "get":
                assert result.version >= operation.floor, f"a stale read of {operation.key!r}"
            self.acknowledged[operation.key] = max(self.acknowledged.get(operation.key, 0), result.version)
            if operation.kind in COMMANDS:
                result.value = self.replied(client, operation, result.value)
            if operation.kind in ("incr", "command incr"):
                self.counter_acknowledged[operation.key] = self.counter_acknowledged.get(operation.key, 0) + 1
                assert result.value not in self.sums, "two increments had the same sum: one was lost"
                self.sums.add(result.value)
                assert int(result.value) <= self.counter_begun[operation.key], "executed twice"
            if operation.kind == "get" and operation.key == b"counter":
                assert int(result.value) <= self.counter_begun[operation.key], "executed twice"

    def replied(self, client: Client, operation: Operation, reply: bytes) -> bytes:
        """Check a reply. What it says of a single value, if it does."""
        assert not reply.startswith(b"-"), reply
        kind, parts = operation.kind, reply.split(b"\r\n")
        if kind == "pair":
            assert parts[0] == b"*2"
            assert parts[1:-1] == [b"$-1", b"$-1"] or (parts[2] == parts[4]), f"half a transaction was read: {reply!r}"
        elif kind == "transaction":
            assert (parts[0], parts[2]) == (b"*3", b"+OK")
            assert parts[1] == parts[3], f"half a transaction was there before: {reply!r}"
            assert reply not in self.sums, "two transactions had the same sum: one was lost"
            self.sums.add(reply)
        elif kind == "fleeting set":
            client.fleeting = operation.request.commands[0][2]
        elif kind == "fleeting get":
            self.was_read(client, None if parts[0] == b"$-1" else parts[1])
        return parts[0][1:]

    def was_read_together(self, client: Client, operation: Operation, result: Result) -> None:
        """A client has read its key that expires, and keys that are always stored together."""
        (fleeting, *records), end = decode_column(result.value, 0, 0, RECORD_BYTES_MAX, 1 + len(TWINS))
        assert end == len(result.value)
        assert len(set(records)) == 1, f"half an update was read: {records}"
        self.was_read(client, record_value(fleeting) if fleeting else None)
        result.version = record_version(records[0]) if records[0] else 0
        assert result.version >= operation.floor, "a stale read of several keys"

    def glance(self) -> None:
        """What a server may tell at once, by the bound of `clean_below`, is an answered read as well."""
        node = self.random.choice(list(self.nodes.values()))
        replica = node.core.replicas.get(0)
        if not self.running(node) or replica is None or self.now >= replica.lease_until:
            return
        bound = replica.clean_below()
        if bound is None:
            return
        for key in PLAIN:
            record = node.core.store.get(slot_of(key), key)
            if record is None or (record < bound and not record[8]):
                version = record_version(record) if record is not None else self.acknowledged.get(key, 0)
                assert version >= self.acknowledged.get(key, 0), f"a stale look at {key!r}"
                self.acknowledged[key] = version
                self.count("glance")

    def was_read(self, client: Client, value: bytes | None) -> None:
        """A client has read its key that expires. Whatever a server's clock shows, what was gone stays so."""
        if value is None:
            self.count("expired" if client.fleeting is not None else "still gone")
            client.fleeting = None
        else:
            assert value == client.fleeting, "a key that was gone has come back"

    # Running.

    def step(self) -> None:
        """Something happens."""
        draw = self.random.random()
        self.wall_ahead += self.random.choice([0.0, 0.0, 0.02])
        self.glance()
        pairs = list(self.links)
        if draw < 0.30:
            self.client_step(self.random.choice(self.clients))
        elif draw < 0.60 and pairs:
            self.deliver(self.random.choice(pairs))
        elif draw < 0.85 and pairs:
            self.deliver_ack(self.random.choice(pairs))
        elif draw < 0.90:
            self.stream()
        else:
            self.pass_time(self.random.choice([0.001, 0.01, 0.05, 0.05]))

    def pass_time(self, seconds: float) -> None:
        """The clock moves; those who run notice."""
        self.now += seconds
        with mock.patch.object(server, "EXPIRED_KEYS_MAX", 0 if self.lazy else EXPIRED_KEYS_MAX):
            for node in self.nodes.values():
                if self.running(node):
                    node.core.tick(self.now)
                    self.flush(node)
        self.connect()

    def fault(self) -> None:
        """One fault, or one of the coordinator's actions."""
        configuration = self.configuration
        action = self.random.choice(
            ["kill", "freeze", "thaw", "thaw", "fail over", "add", "add", "add", "switch", "cut", "heal", "heal",
             "drop", "break", "tell", "tell"]
        )  # fmt: skip
        intact = [
            member for member in configuration.members if (node := self.node_of(member)) is not None and not node.frozen
        ]
        if action in ("kill", "freeze"):
            server_id = self.random.choice(list(self.nodes))
            node = self.nodes[server_id]
            # As many faults as there are copies are outside the promise.
            if action == "kill" and all(member.server_id == server_id for member in intact):
                return
            if node.core.me in configuration.members and len(intact) < 2:
                return
            self.count(action)
            if action == "freeze":
                node.frozen = True
                return
            node.alive = False
            for pair in [pair for pair in self.links if server_id in (pair[0].server_id, pair[1].server_id)]:
                self.disconnect(pair)
            if configuration.primary.server_id == server_id:
                self.fail_over()
            elif node.core.me in configuration.everyone:
                self.drop(node.core.me)
            self.start(server_id)
        elif action == "thaw":
            for node in self.nodes.values():
                node.frozen = False
        elif action == "fail over" and len(intact) == len(configuration.members):
            self.fail_over()
        elif action == "add":
            self.add_learner()
        elif action == "switch":
            self.start_switch()
        elif action == "cut":
            self.cut.add(frozenset(self.random.sample(list(self.nodes), 2)))
        elif action == "heal":
            self.cut.clear()
        elif action == "drop" and len(intact) > 1 and configuration.secondaries:
            self.drop(self.random.choice(configuration.secondaries))
        elif action == "break" and self.links:
            self.disconnect(self.random.choice(list(self.links)))
        elif action == "tell":
            self.retell()

    def settle(self) -> None:
        """Faults end: within bounded time all copies are there, equal, and nothing is pending."""
        self.cut.clear()
        self.lazy = False
        for node in self.nodes.values():
            node.frozen = False
        quiet = 0
        for _ in range(SETTLE_STEPS_MAX):
            primary = self.node_of(self.configuration.primary)
            assert primary is not None
            if 0 not in primary.core.replicas:
                self.retell()
            replica = primary.core.replicas[0]
            done = (
                replica.role is ReplicaRole.PRIMARY
                and len(self.configuration.members) == self.copies
                and not self.configuration.learners
                and all(client.operation is None for client in self.clients)
                and primary.core.flushed
                and not replica.expiries
                and all(follower.acked == replica.sequence for follower in replica.leading.followers.values())
            )
            # Quiet for some beacons more, with which tombstones and late refusals go.
            quiet = quiet + 1 if done else 0
            if quiet > 60:
                break
            self.retell()
            if replica.role in (ReplicaRole.SEALED, ReplicaRole.STEPPED_DOWN, ReplicaRole.NONE):
                self.fail_over()
            self.add_learner()
            for client in self.clients:
                if client.operation is not None and self.random.random() < 0.1:
                    self.client_step(client)
            for pair in list(self.links):
                self.deliver(pair)
                self.deliver_ack(pair)
            self.stream()
            self.pass_time(0.02)
        else:
            raise AssertionError("the cluster did not heal")

    def check_equal(self) -> None:
        """All copies hold the same, and no acknowledged write is missing."""
        contents = []
        remembered: dict[bytes, Any] = {}
        for member in self.configuration.members:
            node = self.node_of(member)
            assert node is not None
            contents.append({key: record for slot in range(16384) for key, record in node.core.store.items(slot)})
            for client in self.clients:
                result = node.core.replicas[0].dedup.find(client.identity, client.number, 0, False)
                remembered.setdefault(client.identity, result)
                assert result == remembered[client.identity], "copies remember different results"
        assert all(content == contents[0] for content in contents), "copies differ"
        assert not [key for key in contents[0] if key.startswith(b"fleeting")], "what has expired is still there"
        first, second = (contents[0].get(key, b"") for key in PAIR)
        assert first == second, "half a transaction was stored"
        assert len({contents[0].get(key) for key in TWINS}) == 1, "half an update was stored"
        for key, version in self.acknowledged.items():
            record = self.node_of(self.configuration.primary).core.store.get(slot_of(key), key)  # type: ignore[union-attr]
            if record is not None:
                assert int.from_bytes(record[:8], "big") >= version, "an acknowledged write was lost"
        total = self.counter_acknowledged.get(b"counter", 0)
        if total:
            record = self.node_of(self.configuration.primary).core.store.get(slot_of(b"counter"), b"counter")  # type: ignore[union-attr]
            assert record is not None
            assert total <= int(record[9:]) <= self.counter_begun[b"counter"]
