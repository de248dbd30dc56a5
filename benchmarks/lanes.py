"""The loader's connections, and the loop that keeps a number of requests in flight over them."""

from __future__ import annotations

import os
import select
import socket
import time
from collections import Counter
from collections.abc import Sequence

import attrs

from benchmarks.frames import LoadError, Replies, Requests
from twistedkv.clustermap import ClusterMap
from twistedkv.core.handshake import make_hello
from twistedkv.errors import Status
from twistedkv.messages.client import MapRequest, MapUpdate
from twistedkv.messages.hello import Role
from twistedkv.wire.client import decode_response, encode_request
from twistedkv.wire.frames import Frame, FrameDecoder, encode_frame
from twistedkv.wire.shared import HELLO, HELLO_REPLY, HELLO_REPLY_TYPE, HELLO_TYPE

Address = tuple[str, int]

SILENCE_SECONDS_MAX = 10.0
_RECEIVE_BYTES = 256 * 1024


def connect(address: Address) -> socket.socket:
    """A connection as a client of its own, with HELLO through. Raises LoadError, or OSError."""
    sock = socket.create_connection(address, timeout=SILENCE_SECONDS_MAX)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    hello = make_hello(Role.CLIENT, "", 0, os.urandom(16))
    message_type, _, _, body = ask(sock, HELLO_TYPE, HELLO.encode(hello))
    if message_type != HELLO_REPLY_TYPE:
        raise LoadError(f"HELLO was answered by a message of type 0x{message_type:02x}")
    reply = HELLO_REPLY.decode(body)
    if reply.status != Status.SUCCESS:
        raise LoadError(f"{address[0]}:{address[1]}: {reply.text}")
    return sock


def ask(sock: socket.socket, message_type: int, body: bytes) -> Frame:
    """Send one request and wait for one frame."""
    sock.sendall(encode_frame(message_type, body, 1))
    decoder = FrameDecoder()
    while True:
        data = sock.recv(_RECEIVE_BYTES)
        if not data:
            raise LoadError("the connection was closed instead of an answer")
        frames = decoder.feed(data)
        if frames:
            return frames[0]


def fetch_map(address: Address) -> ClusterMap:
    """The cluster map, from the coordinator or any server."""
    with connect(address) as sock:
        message_type, _, _, body = ask(sock, *encode_request(MapRequest(subscribe=False)))
    update = decode_response(message_type, body)
    if not isinstance(update, MapUpdate):
        raise LoadError(f"the map was asked for, the answer was {update}")
    return update.map


class Lane:
    """A connection with its requests. Invariant: `low` is the lowest request id that is not answered."""

    def __init__(self, sock: socket.socket, requests: Requests, margin: int) -> None:
        self.sock = sock
        self.requests = requests
        self.replies = Replies(requests.value)
        self.latencies: list[float] = []
        self.sent = 0
        self.low = 1
        self._early: set[int] = set()
        """Answered requests above `low`."""
        self._margin = margin
        self._sent_at: list[float] = [0.0]
        """By request id."""

    @property
    def waiting(self) -> int:
        """Requests in flight."""
        return self.sent - (self.low - 1) - len(self._early)

    @property
    def exhausted(self) -> bool:
        """All requests have been sent."""
        return self.sent >= self.requests.count

    def send(self, count: int) -> int:
        """Send up to `count` more; how many were sent. Fewer at the end, or while an old one is not answered."""
        first = self.sent
        count = min(count, self.requests.count - first, self.low - 1 + self._margin - first)
        if count <= 0:
            return 0
        size = self.requests.frame_bytes
        now = time.perf_counter()
        self.sock.sendall(self.requests.data[first * size : (first + count) * size])
        self._sent_at += [now] * count
        self.sent = first + count
        return count

    def receive(self) -> int:
        """Take what has come; how many requests it answers."""
        data = self.sock.recv(_RECEIVE_BYTES)
        if not data:
            raise LoadError("a server closed its connection")
        ids = self.replies.feed(data)
        now = time.perf_counter()
        count, low, sent_at = len(ids), self.low, self._sent_at
        if not self._early and low + count <= self.sent + 1 and ids == list(range(low, low + count)):
            self.low = low + count
            self.latencies += [now - at for at in sent_at[low : low + count]]
            return count
        early = self._early
        for request_id in ids:
            if not self.low <= request_id <= self.sent or request_id in early:
                raise LoadError(f"request {request_id} was answered, and was not in flight")
            early.add(request_id)
            self.latencies.append(now - sent_at[request_id])
            while self.low in early:
                early.remove(self.low)
                self.low += 1
        return count


@attrs.frozen
class Measurement:
    """One run."""

    operations: int
    """That succeeded while the clock ran."""
    seconds: float
    latencies: list[float]
    """In seconds, sorted."""
    failures: Counter[str]
    """What was not answered with success, also after the clock was stopped."""
    cpu_seconds: float
    """Of the loader, while the clock ran."""

    @property
    def rate(self) -> float:
        """Successful operations a second."""
        return self.operations / self.seconds

    @property
    def cost_microseconds(self) -> float:
        """What an operation costs the loader."""
        return self.cpu_seconds / max(1, self.operations) * 1e6

    def latency(self, share: float) -> float:
        """The latency in seconds that this share of the operations did not pass."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))] if self.latencies else 0.0


def run(lanes: Sequence[Lane], in_flight: int, seconds: float) -> Measurement:
    """Keep `in_flight` requests in flight over all lanes until the time is over or a lane has no more to send.

    With fewer in flight than there are lanes, the lanes take turns. Afterwards the answers still out are awaited: they
    are checked, and not counted.
    """
    poll = select.poll()
    by_descriptor = {lane.sock.fileno(): lane for lane in lanes}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    turns = len(lanes) if in_flight < len(lanes) else 0
    turn = 0
    owed = dict.fromkeys(lanes, 0)
    """Requests that a lane may send and has not, because its oldest one waits."""
    started, cpu_started = time.perf_counter(), time.process_time()
    ends = started + seconds
    for number in range(in_flight):
        owed[lanes[number % len(lanes)]] += 1
    for lane, count in owed.items():
        owed[lane] -= lane.send(count)
    finished = 0
    over = False
    while not over:
        ready = poll.poll(SILENCE_SECONDS_MAX * 1000)
        if not ready:
            raise LoadError(f"no answer for {SILENCE_SECONDS_MAX:g} s with {in_flight} requests in flight")
        for descriptor, _ in ready:
            lane = by_descriptor[descriptor]
            count = lane.receive()
            finished += count
            if turns:
                for _ in range(count):
                    turn = (turn + 1) % turns
                    over = lanes[turn].send(1) == 0 or over
            elif count:
                count += owed[lane]
                owed[lane] = count - lane.send(count)
                over = over or lane.exhausted
        over = over or time.perf_counter() > ends
    stopped, cpu_stopped = time.perf_counter(), time.process_time()
    failed_before = sum(sum(lane.replies.failures.values()) for lane in lanes)
    counted = [len(lane.latencies) for lane in lanes]
    for lane in lanes:
        while lane.waiting:
            lane.receive()
    latencies = sorted(
        latency for lane, count in zip(lanes, counted, strict=True) for latency in lane.latencies[:count]
    )
    failures = sum((lane.replies.failures for lane in lanes), Counter())
    return Measurement(finished - failed_before, stopped - started, latencies, failures, cpu_stopped - cpu_started)
