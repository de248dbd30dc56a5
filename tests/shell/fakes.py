"""Servers that follow a script, a clock that only sleeping and waiting moves, and a small table of commands."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import attrs

from twistedkv.resp.answers import Answer, ErrorAnswer, PushAnswer
from twistedkv.shell.completion import only_reads
from twistedkv.shell.link import LinkLost
from twistedkv.shell.session import LineSession

A, B, C = "127.0.0.1:7379", "127.0.0.1:7380", "127.0.0.1:7381"


class Silence:
    """In a script: no answer for so many seconds; then the next entry is the answer."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


Step = Answer | BaseException | Silence
Script = Callable[[list[bytes]], Step] | list[Step]


@attrs.define
class FakeCommand:
    """An entry of the table."""

    arguments: str = ""
    summary: str = ""
    flags: frozenset[str] = frozenset()
    group: str = "string"
    subcommands: Mapping[bytes, FakeCommand] = attrs.Factory(dict)


READS = frozenset(["readonly"])
TABLE: dict[bytes, FakeCommand] = {
    b"GET": FakeCommand("key", "The value of a key", READS),
    b"SET": FakeCommand("key value [NX | XX] [GET] [EX seconds | KEEPTTL]", "Store a value"),
    b"INCR": FakeCommand("key", "Add one"),
    b"COPY": FakeCommand("source destination [DB destination-db] [REPLACE]", "Copy a value", group="generic"),
    b"CLIENT": FakeCommand(
        "",
        "About connections",
        group="connection",
        subcommands={
            b"GETNAME": FakeCommand("", "The name of this connection"),
            b"SETINFO": FakeCommand("LIB-NAME name | LIB-VER version", "Say which library this is"),
        },
    ),
}


class FakeServer:
    """One server: what it answers, and what it has been asked."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[bytes] = []
        """All commands but those of the greeting, each in one line."""
        self.greeted: list[bytes] = []
        self.slots: Step = ErrorAnswer(b"ERR This instance has cluster support disabled")
        self.hello: Step = []
        self.refuses: str = ""
        """Why it accepts no connection; empty if it does."""
        self.last_words: str = ""
        """With what it ends every connection; empty if it does not."""


class FakeLink:
    """A connection to a FakeServer."""

    def __init__(self, address: str, server: FakeServer, world: World) -> None:
        self.address = address
        self.closed = False
        self.ended: str = server.last_words
        """Why the server has closed it, empty if it has not."""
        self.pushed: list[PushAnswer] = []
        self._server = server
        self._world = world
        self._steps: deque[Step] = deque()

    def send(self, words: Sequence[bytes]) -> None:
        assert not self.closed
        line = b" ".join(words)
        if words[0] in (b"HELLO", b"CLUSTER"):
            self._server.greeted.append(line)
            self._steps.append(self._server.hello if words[0] == b"HELLO" else self._server.slots)
            return
        self._server.asked.append(line)
        script = self._server.script
        if callable(script):
            self._steps.append(script(list(words)))
        else:
            self._steps.append(script.pop(0))
            while isinstance(self._steps[-1], Silence | PushAnswer):
                self._steps.append(script.pop(0))

    def receive(self, seconds: float) -> Answer:
        assert not self.closed
        step = self._steps[0]
        if isinstance(step, Silence):
            passed = min(step.seconds, seconds)
            step.seconds -= passed
            self._world.now += passed
            if not step.seconds:
                self._steps.popleft()
            raise TimeoutError
        self._steps.popleft()
        if isinstance(step, BaseException):
            raise step
        return step

    def unasked(self) -> list[PushAnswer]:
        assert not self.closed
        if self.ended:
            raise LinkLost(self.ended)
        taken, self.pushed = self.pushed, []
        return taken

    def close(self) -> None:
        self.closed = True


class World:
    """Servers by address, and a session with them."""

    def __init__(self, **scripts: Script) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.slept: list[float] = []
        self.dialled: list[str] = []
        self.links: list[FakeLink] = []
        names = {"a": A, "b": B, "c": C}
        self.servers = {names[name]: FakeServer(script) for name, script in scripts.items()}
        self.at_sleep: Callable[[], None] = lambda: None

    def dial(self, address: str, seconds: float) -> FakeLink:
        self.dialled.append(address)
        server = self.servers.get(address)
        if server is None or server.refuses:
            raise LinkLost(server.refuses if server else "connection refused")
        self.links.append(FakeLink(address, server, self))
        return self.links[-1]

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds
        self.at_sleep()

    def session(
        self, *addresses: str, protocol: int = 2, answer_seconds: float | None = None, connected: bool = True
    ) -> LineSession:
        session = LineSession(
            addresses or (A,),
            dial=self.dial,
            say=self.said.append,
            monotonic=lambda: self.now,
            sleep=self.sleep,
            may_repeat=lambda words: only_reads(TABLE, words),
            protocol=protocol,
            answer_seconds=answer_seconds,
        )
        if connected:
            session.connect()
        return session
