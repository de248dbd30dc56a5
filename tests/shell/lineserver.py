"""A small line port on a real socket, in a thread: it stores strings, and misbehaves when told to."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from twistedkv.resp import replies
from twistedkv.resp.answers import AnswerDecoder


class _Connection(socketserver.BaseRequestHandler):
    server: LineServer

    def handle(self) -> None:
        decoder = AnswerDecoder()  # a command is a list of strings, as an answer can be
        while data := self.request.recv(65536):
            for words in decoder.feed(data):
                assert isinstance(words, list)
                reply = self.server.answer([bytes(word) for word in words])
                if not reply:
                    return
                self.request.sendall(reply)


class LineServer(socketserver.ThreadingTCPServer):
    """GET, SET, INCR and PING; DIE ends the connection without an answer, SILENCE is never answered."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.data: dict[bytes, bytes] = {}
        self.asked: list[bytes] = []
        self.moved_to: str = ""
        """Answer MOVED to here; empty: do not."""
        self.failure: str = ""
        """Answer INCR with this error; empty: do not."""
        self.stopped = threading.Event()

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.server_address[1]}"

    def answer(self, words: list[bytes]) -> bytes:
        """The reply to a command; nothing: the connection ends."""
        self.asked.append(b" ".join(words))
        match [words[0].upper(), *words[1:]]:
            case [b"PING"]:
                return replies.PONG
            case [b"HELLO", b"3"]:
                return replies.mapping({b"proto": replies.integer(3)}, 3)
            case [b"DIE"]:
                return b""
            case [b"SILENCE"]:
                self.stopped.wait()
                return b""
            case [b"GET" | b"SET" | b"INCR", *_] if self.moved_to:
                return replies.error(f"MOVED 866 {self.moved_to}")
            case [b"INCR", _] if self.failure:
                return replies.error(self.failure)
            case [b"GET", key]:
                return replies.value_or_nil(self.data.get(key), 2)
            case [b"SET", key, value]:
                self.data[key] = value
                return replies.OK
            case [b"INCR", key]:
                number = int(self.data.get(key, b"0")) + 1
                self.data[key] = b"%d" % number
                return replies.integer(number)
        return replies.error(f"ERR unknown command '{words[0].decode()}', with args beginning with: ")


@contextmanager
def line_server() -> Iterator[LineServer]:
    """A server that runs until the end of the block."""
    with LineServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()
