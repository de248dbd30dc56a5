"""The state of routing: a lane for each shard, a link for each server."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Any

from twistedkv.client.numbers import WriteNumbers
from twistedkv.client.operations import Operation
from twistedkv.clustermap import Configuration, Server


class LinkState(Enum):
    """Of the connection to a server, or to the coordinator."""

    IDLE = "idle"
    """Nobody needs it."""
    CONNECTING = "connecting"
    """Until HELLO is through or refused."""
    OPEN = "open"
    """Frames can be sent."""
    BACKING_OFF = "backing off"
    """It was refused or lost, and will be tried again at a set time."""
    CLOSED = "closed"
    """Given up for good: what is still heard of it is ignored."""


class Link:
    """A connection, what is to be sent on it, and who waits for its answers."""

    __slots__ = (
        "connection",
        "delay",
        "error",
        "heard",
        "heard_at",
        "host",
        "lanes",
        "last_id",
        "out",
        "pending",
        "port",
        "server",
        "state",
        "waiting",
    )

    def __init__(self, server: Server | None, host: str, port: int) -> None:
        self.server = server
        """None for the coordinator's."""
        self.host = host
        self.port = port
        self.state = LinkState.IDLE
        self.connection: Any = None
        """The rim's."""
        self.waiting: dict[int, Operation] = {}
        """Sent and not answered, by request id; also those that have ended here (their waiter is None)."""
        self.out: list[bytes] = []
        """Frames for the next flush."""
        self.pending: deque[Operation] = deque()
        """To be sent to this very server, when the link opens."""
        self.lanes: dict[Lane, None] = {}
        """Those that send here or wait for the link to open."""
        self.last_id = 0
        self.delay = 0.0
        """Seconds to wait before the next attempt to connect; 0 after one that was of use."""
        self.heard = False
        """Whether anything was received since it opened."""
        self.heard_at = 0.0
        """When anything was received, or sent when nothing was due: since then an answer is."""
        self.error = ""

    @property
    def coordinator(self) -> bool:
        """Whether it leads to the coordinator."""
        return self.server is None

    def __str__(self) -> str:
        name = "the coordinator" if self.server is None else f"server {self.server.server_id}"
        return f"{name} at {self.host}:{self.port}"


class LaneState(Enum):
    """What becomes of an operation that comes now."""

    IDLE = "idle"
    """Nothing waits; the next operation finds out where to send it."""
    OPEN = "open"
    """It is sent at once. Invariant: the link is open and the queue empty."""
    DRAINING = "draining"
    """Queued until everything sent before has been answered, refused or lost, so that what has to be sent again
    is sent first."""
    CONNECTING = "connecting"
    """Queued until the primary's link opens."""
    BACKING_OFF = "backing off"
    """Queued until a moment has passed, or a newer configuration is known."""
    STRANDED = "stranded"
    """Queued until a map names a primary that is not known to have failed."""
    WINDOW = "window"
    """Queued until older writes have ended: their numbers must not lie too far behind."""


class Lane:
    """The operations of one shard, in order.

    Invariant: what is in flight was sent over one link, `link`.
    """

    __slots__ = (
        "bounced",
        "configuration",
        "delay",
        "inflight",
        "link",
        "newest",
        "not_before",
        "numbers",
        "queue",
        "refused",
        "retired",
        "state",
    )

    def __init__(self, configuration: Configuration, numbers: WriteNumbers) -> None:
        self.configuration = configuration
        self.numbers = numbers
        """Of the writes sent here. Servers remember results by shard, so each shard has a window of its own: one that
        has no primary for a while does not use up the numbers of the others."""
        self.state = LaneState.IDLE
        self.link: Link | None = None
        self.queue: deque[Operation] = deque()
        self.bounced: list[Operation] = []
        """Refused or lost, to be sent again, before the queue."""
        self.inflight = 0
        self.newest = 0
        """Newest version of the shard that any answer has shown."""
        self.refused = False
        """Whether one of `bounced` was refused by a server, which calls for a pause."""
        self.retired = False
        """The shards have been laid out anew: another lane has its slots."""
        self.delay = 0.0
        self.not_before = 0.0

    def __str__(self) -> str:
        return f"shard {self.configuration.shard}"
