"""The far ends of a daemon's connections, played by the test: bytes of any kind go out, and what comes in is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from tests.support.transport import MemoryNetwork
from twistedkv.errors import ProtocolError
from twistedkv.messages.hello import Hello, HelloReply
from twistedkv.wire.frames import Frame, FrameDecoder, encode_frame
from twistedkv.wire.shared import HELLO, HELLO_REPLY, HELLO_REPLY_TYPE, HELLO_TYPE


class FarEnd(Protocol):
    """One connection. `said` is all that went out after the opening."""

    transport: Any

    def __init__(
        self, hello: Hello | None = None, answer: Callable[[FarEnd, Hello], HelloReply | None] | None = None
    ) -> None:
        self.said = b""
        self.frames: list[Frame] = []
        """All that came in."""
        self.open = False
        self.heard: Callable[[FarEnd, Frame], None] = lambda end, frame: None
        self.opening = False
        """HELLO has come and was not answered: it is for the script to do."""
        self._hello = hello
        self._answer = answer
        self._decoder = FrameDecoder()

    def connectionMade(self) -> None:
        self.open = True
        if self._hello is not None:
            self.transport.write(encode_frame(HELLO_TYPE, HELLO.encode(self._hello)))

    def dataReceived(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            message_type, _, request_id, body = frame
            if message_type == HELLO_TYPE and self._answer is not None:
                reply = self._answer(self, HELLO.decode(body))
                self.opening = reply is None
                if reply is not None:
                    self.transport.write(encode_frame(HELLO_REPLY_TYPE, HELLO_REPLY.encode(reply), request_id))
                continue
            self.frames.append(frame)
            self.heard(self, frame)

    def connectionLost(self, reason: Any = None) -> None:
        self.open = False

    def say(self, data: bytes) -> None:
        """Send some bytes."""
        if self.open:
            self.said += data
            self.transport.write(data)

    def hang_up(self) -> None:
        """Break the connection."""
        if self.open:
            self.transport.abortConnection()


def dialled(network: MemoryNetwork, port: int, hello: Hello | None) -> FarEnd:
    """A new connection to a daemon, with HELLO said and answered, unless there is none to say."""

    class _Dialer(ClientFactory):
        noisy = False

        def buildProtocol(self, addr: Any) -> FarEnd:
            return end

    end = FarEnd(hello)
    network.connectTCP("127.0.0.1", port, _Dialer())
    network.settle()
    return end


class Listening(Factory):
    """Where a daemon dials: each connection is given to `answer`, which says HELLO_REPLY, or nothing yet."""

    noisy = False

    def __init__(self, answer: Callable[[FarEnd, Hello], HelloReply | None]) -> None:
        self._answer = answer

    def buildProtocol(self, addr: Any) -> FarEnd:
        return FarEnd(answer=self._answer)


def refused(end: FarEnd, decode: Callable[[Frame], object]) -> bool:
    """Whether what was said on a connection must have ended it: nonsense, or a message that does not belong there."""
    try:
        for number, frame in enumerate(FrameDecoder().feed(end.said)):
            if end.opening and not number:
                HELLO_REPLY.decode(frame[3] if frame[0] == HELLO_REPLY_TYPE else b"")
            else:
                decode(frame)
    except ProtocolError:
        return True
    return False


class LoggedFailures:
    """Failures that were logged while it is in force: errors that nobody had foreseen."""

    def __init__(self) -> None:
        self._found: list[Failure] = []

    def __call__(self, event: dict[str, Any]) -> None:
        if "log_failure" in event:
            self._found.append(event["log_failure"])

    def __enter__(self) -> LoggedFailures:
        globalLogPublisher.addObserver(self)
        return self

    def __exit__(self, *_: object) -> None:
        globalLogPublisher.removeObserver(self)

    def check(self) -> None:
        """Raise the first of them."""
        if self._found:
            self._found[0].raiseException()
