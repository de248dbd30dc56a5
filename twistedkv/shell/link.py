"""A connection to the line port of one server. It blocks: the shell does one thing at a time."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

from twistedkv.errors import ProtocolError, TwistedKVError
from twistedkv.resp import replies
from twistedkv.resp.answers import Answer, AnswerDecoder, ErrorAnswer, PushAnswer
from twistedkv.shell.rendering import plain

_READ_BYTES = 256 * 1024


class LinkLost(TwistedKVError):
    """There is no connection, or not any more; the text says why."""


class Link(Protocol):
    """A connection; the tests have one that follows a script."""

    @property
    def address(self) -> str:
        """HOST:PORT."""

    def send(self, words: Sequence[bytes]) -> None:
        """Send a command. Raises LinkLost; a part of it may have been sent then."""

    def receive(self, seconds: float) -> Answer:
        """The next answer. Raises TimeoutError when there is none after so long, and LinkLost."""

    def unasked(self) -> list[PushAnswer]:
        """What has come since the last answer. Raises LinkLost when the other side has ended the connection."""

    def close(self) -> None:
        """End it."""


class Dial(Protocol):
    """Opens a connection."""

    def __call__(self, address: str, seconds: float) -> Link:
        """Raises LinkLost when nobody answers at HOST:PORT within so long."""


class SocketLink:
    """A connection over TCP."""

    def __init__(self, address: str, connection: socket.socket) -> None:
        self.address = address
        self._socket = connection
        self._decoder = AnswerDecoder()
        self._answers: list[Answer] = []
        """Received and not asked for yet, in order."""

    def send(self, words: Sequence[bytes]) -> None:
        """Send a command, however long the server takes to read it."""
        try:
            self._socket.settimeout(None)
            self._socket.sendall(replies.bulks(words))
        except OSError as error:
            raise LinkLost(_reason(error)) from error

    def receive(self, seconds: float) -> Answer:
        """The next answer. Raises TimeoutError when nothing came for so long."""
        while not self._answers:
            try:
                self._socket.settimeout(max(seconds, 0.001))
                data = self._socket.recv(_READ_BYTES)
            except TimeoutError:
                raise
            except OSError as error:
                raise LinkLost(_reason(error)) from error
            if not data:
                raise LinkLost("the server closed it")
            try:
                self._answers += self._decoder.feed(data)
            except ProtocolError as error:
                raise LinkLost(f"what came is not RESP: {error}") from error
        return self._answers.pop(0)

    def unasked(self) -> list[PushAnswer]:
        """Read what is there, without waiting. An answer to nothing is the server's last word, and raises LinkLost."""
        try:
            self._socket.settimeout(0)
            while True:
                data = self._socket.recv(_READ_BYTES)
                if not data:
                    raise LinkLost(_last_words(self._answers) or "the server closed it")
                self._answers += self._decoder.feed(data)
        except BlockingIOError:
            pass
        except ProtocolError as error:
            raise LinkLost(f"what came is not RESP: {error}") from error
        except OSError as error:
            raise LinkLost(_reason(error)) from error
        if said := _last_words(self._answers):
            raise LinkLost(said)
        taken = [answer for answer in self._answers if isinstance(answer, PushAnswer)]
        self._answers.clear()
        return taken

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def dial(address: str, seconds: float) -> SocketLink:
    """Connect to HOST:PORT. Raises LinkLost."""
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except TimeoutError:
        raise LinkLost(f"no answer within {seconds:g} s") from None
    except (OSError, ValueError, OverflowError) as error:
        raise LinkLost(_reason(error)) from error
    return SocketLink(address, connection)


def _last_words(answers: list[Answer]) -> str:
    for answer in answers:
        if isinstance(answer, ErrorAnswer):
            return f"the server said: {plain(answer.text)}"
        if not isinstance(answer, PushAnswer):
            return "the server said something that was not asked for"
    return ""


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
