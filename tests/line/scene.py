"""A simulated cluster with its line ports, and somebody who talks to them."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import ClientFactory, Protocol

from twistedkv.resp import replies
from twistedkv.resp.answers import Answer, AnswerDecoder, ErrorAnswer, MapAnswer, StatusText, VerbatimText
from twistedkv.simulation.cluster import LINE_PORT, Cluster, Shape
from twistedkv.simulation.network import Weather
from twistedkv.simulation.reactor import HostClock, SimulatedReactor
from twistedkv.simulation.timeline import Timeline
from twistedkv.slots import slot_of

ANSWER_SECONDS = 20.0


class Talker(Protocol):
    """A client that sends what it is told, and keeps what it hears."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.heard = b""
        self.open = False
        self.reading = True
        self._decoder = AnswerDecoder()
        self.answers: list[Answer] = []

    def connectionMade(self) -> None:
        self.open = True

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        self.answers += self._decoder.feed(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.open = False

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.transport.write(data)

    def request(self, *words: bytes | str | int) -> None:
        """Send a command as programs do."""
        self.send(
            replies.bulks(
                [
                    word.encode() if isinstance(word, str) else str(word).encode() if isinstance(word, int) else word
                    for word in words
                ]
            )
        )

    def wait(self, count: int = 1) -> list[Any]:
        """The next `count` answers, in plain values."""
        self.scene.until(lambda: len(self.answers) >= count or not self.open)
        found, self.answers = self.answers[:count], self.answers[count:]
        return [plain(answer) for answer in found]

    def ask(self, *words: bytes | str | int) -> Any:
        """The answer to a command."""
        self.request(*words)
        (answer,) = self.wait()
        return answer

    def type(self, line: str) -> Any:
        """The answer to a line that is typed."""
        self.send(line.encode() + b"\r\n")
        (answer,) = self.wait()
        return answer


def plain(answer: Answer) -> Any:
    """Strings for statuses, errors with a minus, lists, dicts."""
    if isinstance(answer, StatusText):
        return answer.text.decode()
    if isinstance(answer, ErrorAnswer):
        return "-" + answer.text.decode("utf-8", "replace")
    if isinstance(answer, VerbatimText):
        return answer.text
    if isinstance(answer, MapAnswer):
        return {plain(key): plain(value) for key, value in answer.pairs}
    if isinstance(answer, list):
        return [plain(each) for each in answer]
    return answer


class Scene:
    """The cluster: three servers, six shards, two copies, unless told otherwise."""

    def __init__(self, seed: int = 1, **shape: Any) -> None:
        self.timeline = Timeline(seed)
        self.cluster = Cluster(self.timeline, Shape(**shape), Weather())
        self.cluster.start_coordinator()
        for server_id in self.cluster.shape.server_ids:
            self.cluster.start_server(server_id)
        self.until(lambda: self.cluster.serving)
        self.until(self._known)
        self._talkers = 0

    def _known(self) -> bool:
        return all(self.port(i).desk.map.shards for i in self.cluster.shape.server_ids)

    def port(self, server_id: int) -> Any:
        """The line port of a server."""
        server = self.cluster.server(server_id)
        assert server is not None
        return server.services[0]

    def until(self, true: Any, seconds: float = ANSWER_SECONDS) -> None:
        """Let time pass until something is so."""
        assert self.timeline.run_while(lambda: not true(), seconds), "it does not come to be"

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass."""
        self.timeline.run_until(self.timeline.now + seconds)

    def connect(self, server_id: int = 1) -> Talker:
        """Somebody who is connected to the line port of a server."""
        talker = Talker(self)
        self._talkers += 1
        host = f"10.0.2.{self._talkers}"
        reactor = SimulatedReactor(
            f"talker {self._talkers}", host, self.timeline, self.cluster.network, HostClock(), lambda: None
        )

        class _Factory(ClientFactory):
            noisy = False

            def buildProtocol(self, addr: Any) -> Talker:
                return talker

        reactor.post(
            self.timeline.now,
            lambda: reactor.connectTCP(self.cluster.host_of(server_id), LINE_PORT, _Factory(), timeout=2),
        )
        self.until(lambda: talker.open or talker.heard)
        return talker

    def primary_of(self, key: bytes | str) -> int:
        """The server that is primary of a key's shard, by what is stored."""
        slot = slot_of(key.encode() if isinstance(key, str) else key)
        (found,) = [c for c in self.cluster.configurations if slot in c.slots]
        return found.primary.server_id

    def key_of(self, server_id: int, name: str = "k") -> str:
        """A key of which this server is the primary."""
        return next(key for n in range(1000) if self.primary_of(key := f"{name}{n}") == server_id)

    def end(self) -> None:
        """Nothing may have gone wrong."""
        assert not self.timeline.problems
