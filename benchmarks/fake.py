"""A server that stores nothing and says yes: what the loader can do when nothing else costs anything.

`python -m benchmarks.load --ceiling` measures against it. It also tells the loader's tests apart from a cluster's.
"""

from __future__ import annotations

import multiprocessing
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from twistedkv.clustermap import ClusterMap, Configuration, Server, ServerState
from twistedkv.core.handshake import answer_hello
from twistedkv.messages.client import MapUpdate
from twistedkv.messages.hello import Role
from twistedkv.slots import slot_ranges
from twistedkv.wire.client import CONFIG_REQ, CONFIG_RESP, FAMILY, GET, result_frame
from twistedkv.wire.frames import Frame, FrameDecoder, encode_frame
from twistedkv.wire.shared import HELLO, HELLO_REPLY, HELLO_REPLY_TYPE, HELLO_TYPE

STORE = bytes(16)

Answers = Callable[[list[Frame]], bytes | None]
"""Given the requests of one read, all that is to be sent back; None: close the connection."""


def say_yes(value: bytes) -> Callable[[list[Frame]], bytes]:
    """Answers to PUT and GET, at the least cost."""

    def answers(frames: list[Frame]) -> bytes:
        return b"".join(
            [
                result_frame(request_id, 0, request_id, value if message_type == GET else b"")
                for message_type, _, request_id, _ in frames
            ]
        )

    return answers


def map_of(ports: list[int], shards: int = 12) -> ClusterMap:
    """A map in which these ports on this machine are servers and share the shards."""
    servers = {
        number: Server(number, STORE, "127.0.0.1", port, ServerState.ACTIVE) for number, port in enumerate(ports, 1)
    }
    configurations = tuple(
        Configuration(shard, first, last, 1, 1, servers[shard % len(ports) + 1].member, (), (), False, False, ())
        for shard, (first, last) in enumerate(slot_ranges(shards))
    )
    return ClusterMap("fake", 1, 1, 1, 200, MappingProxyType(servers), configurations)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    answers: Answers
    ports: list[int]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A loader that goes away is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        sock: socket.socket = self.request
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        decoder = FrameDecoder()
        while data := sock.recv(256 * 1024):
            frames = decoder.feed(data)
            if frames and frames[0][0] == HELLO_TYPE:
                hello = HELLO.decode(frames.pop(0)[3])
                reply = answer_hello(hello, cluster="fake", server_id=1, identity=STORE, roles=[Role.CLIENT])
                sock.sendall(encode_frame(HELLO_REPLY_TYPE, HELLO_REPLY.encode(reply)))
            elif frames and frames[0][0] == CONFIG_REQ:
                _, body = FAMILY.encode(MapUpdate(map_of(self.server.ports)))
                sock.sendall(encode_frame(CONFIG_RESP, body, frames.pop(0)[2]))
            if frames:
                answer = self.server.answers(frames)
                if answer is None:
                    return
                sock.sendall(answer)


@contextmanager
def serving(answers: Answers, servers: int = 1) -> Iterator[list[int]]:
    """Fake servers in threads of this process; their ports. Any of them gives the map."""
    running = [_Server(("127.0.0.1", 0), _Connection) for _ in range(servers)]
    ports = [server.server_address[1] for server in running]
    for server in running:
        server.answers, server.ports = answers, ports
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield ports
    finally:
        for server in running:
            server.shutdown()
            server.server_close()


def _serve(value: bytes, ports: multiprocessing.SimpleQueue[list[int]]) -> None:
    with serving(say_yes(value)) as [port]:
        ports.put([port])
        threading.Event().wait()


@contextmanager
def in_a_process(value: bytes) -> Iterator[int]:
    """One fake server in a process of its own; its port."""
    context = multiprocessing.get_context("spawn")
    ports: multiprocessing.SimpleQueue[list[int]] = context.SimpleQueue()
    process = context.Process(target=_serve, args=(value, ports), daemon=True)
    process.start()
    try:
        yield ports.get()[0]
    finally:
        process.kill()
        process.join()
