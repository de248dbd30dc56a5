"""What all line clients of a server share: the shards, the list of them, what was counted, what took long."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs

from twistedkv.clustermap import ClusterMap, Server, ServerState
from twistedkv.errors import CommandError
from twistedkv.limits import LINE_CONNECTIONS_MAX, SLOTS, SLOW_SECONDS
from twistedkv.line.shards import Shards
from twistedkv.net.failstop import STORAGE_ERRORS

if TYPE_CHECKING:
    from twistedkv.client.twisted import Client
    from twistedkv.line.conversation import Conversation
    from twistedkv.line.reply import Reply
    from twistedkv.service.server import ServerService

SLOW_KEPT = 128
_SLOW_ARGUMENTS_MAX = 32
_SLOW_BYTES_MAX = 128

Function = Callable[["Conversation", list[bytes]], bytes | None]
"""What answers a command that is of no one shard: the reply, or None if it comes later. Raises CommandError."""


@attrs.frozen
class Slow:
    """A command that took long."""

    number: int
    at: int
    """Seconds since 1970."""
    microseconds: int
    arguments: list[bytes]
    address: str
    name: bytes


class Desk:
    """See the module.

    server     the server that this is a part of
    client     of the cluster
    wall       milliseconds since 1970
    moved      whether clients are sent to the server that has their keys, instead of being served from there
    functions  what answers the commands that are of no one shard, by name
    """

    def __init__(
        self,
        server: ServerService,
        client: Client,
        wall: Callable[[], int],
        functions: Mapping[bytes, Function],
        *,
        moved: bool,
    ) -> None:
        self.server = server
        self.client = client
        self.shards = Shards(server, client, self.flush)
        self.functions = functions
        self.wall = wall
        self.moved = moved
        self.now: Callable[[], float] = server.now
        """Seconds of the monotonic clock."""
        self.started_at = self.now()
        self.idle_seconds = 0.0
        self.connections_max = LINE_CONNECTIONS_MAX
        self.resume: Callable[[], None] = _nothing
        """The rim's: called when clients that were not read may be read on."""
        self.conversations: dict[int, Conversation] = {}
        """By number."""
        self.connections = 0
        """Ever made."""
        self.rejected = 0
        self.commands_before = 0
        """Executed for clients that are gone."""
        self.commands_each_second = 0
        """Of late."""
        self._counted = 0
        self.slow: deque[Slow] = deque(maxlen=SLOW_KEPT)
        self._slow_number = 0
        self.stalled: dict[Conversation, None] = {}
        """Those that go on when what was executed here has been answered (`Shards.full`)."""
        self._dirty: dict[Conversation, None] = {}
        self._scheduled = False
        self._flushing = False

    # Conversations.

    def leave(self, conversation: Conversation) -> None:
        """A client is gone."""
        if self.conversations.pop(conversation.number, None) is not None:
            self.commands_before += conversation.commands
        self._dirty.pop(conversation, None)
        self.stalled.pop(conversation, None)

    @property
    def commands(self) -> int:
        """Executed so far."""
        return self.commands_before + sum(each.commands for each in self.conversations.values())

    def count(self) -> None:
        """A second has passed."""
        commands = self.commands
        self._counted, self.commands_each_second = commands, commands - self._counted

    def write_soon(self, conversation: Conversation) -> None:
        """There is something to send to this client, or it may go on: at the end of this turn."""
        self._dirty[conversation] = None
        if not self._scheduled and not self._flushing:
            self._scheduled = True
            self.server.reactor.callLater(0, self._flush_scheduled)

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Send what there is, and go on with what was held up."""
        if self._flushing:
            return
        self._flushing = True
        try:
            dirty, self._dirty = self._dirty, {}
            if self.stalled and not self.shards.full:
                dirty |= self.stalled
                self.stalled = {}
            for conversation in dirty:
                conversation.go_on()
            self.resume()
        except STORAGE_ERRORS as error:
            self.server.storage_failed(error)
        finally:
            self._flushing = False
        if self._dirty and not self._scheduled:
            self._scheduled = True
            self.server.reactor.callLater(0, self._flush_scheduled)

    def took(self, conversation: Conversation, reply: Reply) -> None:
        """A command has been answered; remember it if that took long, and somebody has to know."""
        if not reply.argv or self.now() - reply.since < SLOW_SECONDS:
            return
        microseconds = round((self.now() - reply.since) * 1e6)
        arguments = _shortened(reply.argv)
        seconds = self.wall() // 1000
        self.slow.appendleft(
            Slow(self._slow_number, seconds, microseconds, arguments, conversation.address, conversation.name)
        )
        self._slow_number += 1

    # The cluster.

    @property
    def map(self) -> ClusterMap:
        """The newest cluster map that this server's clients go by."""
        return self.client.cluster_map

    def serving(self) -> list[Server]:
        """The servers that clients may be sent to, by id."""
        servers = self.map.servers.values()
        live = [server for server in servers if server.state in (ServerState.ACTIVE, ServerState.LEAVING)]
        return sorted((server for server in live if server.line_port), key=lambda server: server.server_id)

    def check_mine(self, slot: int) -> None:
        """With `moved`: raise CommandError with the place of the slot if that is elsewhere."""
        if not self.moved or self.shards.is_mine(slot):
            return
        lane = self.shards.lane(slot)
        server = None if lane is None else self.map.server_of(lane.configuration.primary)
        if server is None or server.state is ServerState.FAILED or not server.line_port:
            raise CommandError("CLUSTERDOWN Hash slot not served")
        if server.server_id == self.server.server_id:
            raise CommandError("TRYAGAIN not executed: this server is about to serve the slot")
        raise CommandError(f"MOVED {slot} {server.host}:{server.line_port}")

    def slots_of_shards(self) -> list[int]:
        """One slot of each shard that this port answers for: of all, or with `moved`, of those of this server.

        Raises CommandError while the shards are not known.
        """
        shards = self.map.shards
        if sum(len(shard.slots) for shard in shards) != SLOTS:
            raise CommandError("CLUSTERDOWN Hash slot not served: not executed: the cluster has not been formed yet")
        return [shard.first_slot for shard in shards if not self.moved or self.shards.is_mine(shard.first_slot)]


def _nothing() -> None:
    pass


def _shortened(argv: list[bytes]) -> list[bytes]:
    arguments = [
        each
        if len(each) <= _SLOW_BYTES_MAX
        else each[:_SLOW_BYTES_MAX] + b"... (%d more bytes)" % (len(each) - _SLOW_BYTES_MAX)
        for each in argv[:_SLOW_ARGUMENTS_MAX]
    ]
    if len(argv) > _SLOW_ARGUMENTS_MAX:
        arguments[-1] = b"... (%d more arguments)" % (len(argv) - _SLOW_ARGUMENTS_MAX + 1)
    return arguments
