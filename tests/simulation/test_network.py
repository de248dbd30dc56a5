"""The simulated network and reactor: bytes arrive whole and in order, and connections end as sockets do."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from twistedkv.simulation.network import Network, Weather
from twistedkv.simulation.reactor import HostClock, SimulatedReactor
from twistedkv.simulation.timeline import Timeline
from twistedkv.simulation.transport import TRANSPORT_BUFFER_BYTES


class Recorder(Protocol):
    def __init__(self) -> None:
        self.data = bytearray()
        self.reads = 0
        self.lost: Any = None
        self.paused: list[bool] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.reads += 1

    def connectionLost(self, reason: Failure | None = None) -> None:
        assert reason is not None and self.lost is None
        self.lost = reason.type

    def pauseProducing(self) -> None:
        self.paused.append(True)

    def resumeProducing(self) -> None:
        self.paused.append(False)

    def stopProducing(self) -> None:
        self.paused.append(True)


class Pair:
    """Two hosts, and a connection between them."""

    def __init__(self, seed: int = 1, **weather: Any) -> None:
        self.timeline = Timeline(seed)
        self.network = Network(self.timeline, Weather(**weather))
        self.network.names["there"] = "10.0.0.2"
        self.near = SimulatedReactor("near", "10.0.0.1", self.timeline, self.network)
        self.far = SimulatedReactor("far", "10.0.0.2", self.timeline, self.network)
        self.factory = Factory.forProtocol(Recorder)
        self.accepted: list[Recorder] = []
        self.factory.buildProtocol = self._accept  # type: ignore[method-assign]

    def _accept(self, address: Any) -> Recorder:
        self.accepted.append(Recorder())
        return self.accepted[-1]

    def run(self, seconds: float = 1.0) -> None:
        self.timeline.run_until(self.timeline.now + seconds)
        assert self.timeline.problems == []

    def connect(self) -> tuple[Recorder, Recorder]:
        self.far.listenTCP(80, self.factory)
        dialing: Any = TCP4ClientEndpoint(self.near, "10.0.0.2", 80).connect(Factory.forProtocol(Recorder))
        self.run()
        [there] = self.accepted
        return dialing.result, there


def end_of(pair: Pair, recorder: Recorder) -> Any:
    return recorder.transport


@pytest.mark.parametrize("seed", range(5))
def test_bytes_arrive_in_order_in_pieces_of_any_size(seed: int) -> None:
    pair = Pair(seed, pieces=0.7, loss=0.3, window_bytes=5000)
    here, there = pair.connect()
    sent = bytes(range(256)) * 1000
    for start in range(0, len(sent), 7000):
        here.transport.write(sent[start : start + 7000])
    there.transport.write(b"and back")
    pair.run(60)
    assert there.data == sent
    assert here.data == b"and back"
    assert there.reads > 50


def test_a_host_name_is_resolved_and_dialled() -> None:
    pair = Pair()
    pair.far.listenTCP(80, pair.factory)
    found: list[Any] = []
    HostnameEndpoint(pair.near, "there", 80).connect(Factory.forProtocol(Recorder)).addBoth(found.append)
    pair.run()
    assert isinstance(found[0], Recorder)


def test_what_is_written_before_and_after_lose_connection_arrives() -> None:
    pair = Pair()
    here, there = pair.connect()
    here.transport.write(b"before ")
    here.transport.loseConnection()
    here.transport.write(b"after")
    there.transport.write(b"too late")
    pair.run()
    assert (there.data, there.lost, here.lost) == (b"before after", ConnectionDone, ConnectionDone)
    assert here.data == b""
    assert not pair.network.transports


def test_an_abort_loses_what_was_not_sent() -> None:
    pair = Pair()
    here, there = pair.connect()
    here.transport.write(b"lost")
    here.transport.abortConnection()
    here.transport.write(b"lost too")
    pair.run()
    assert (there.data, there.lost, here.lost) == (b"", ConnectionLost, ConnectionAborted)


def test_a_producer_is_paused_while_the_other_side_does_not_read() -> None:
    pair = Pair(window_bytes=10_000)
    here, there = pair.connect()
    here.transport.registerProducer(here, True)
    there.transport.pauseProducing()
    here.transport.write(bytes(TRANSPORT_BUFFER_BYTES + 20_000))
    pair.run()
    assert here.paused == [True]
    assert not there.data
    there.transport.resumeProducing()
    pair.run()
    assert here.paused == [True, False]
    assert len(there.data) == TRANSPORT_BUFFER_BYTES + 20_000


def test_a_cut_link_holds_bytes_back_and_the_other_direction_works() -> None:
    pair = Pair()
    here, there = pair.connect()
    pair.network.cut("10.0.0.1", "10.0.0.2")
    here.transport.write(b"held")
    there.transport.write(b"through")
    pair.run(30)
    assert (there.data, here.data) == (b"", b"through")
    here.transport.write(b" back")
    pair.network.heal_all()
    pair.run()
    assert there.data == b"held back"


def test_a_reset_into_a_cut_link_is_lost_and_the_other_end_learns_when_it_sends() -> None:
    pair = Pair()
    here, there = pair.connect()
    pair.network.cut("10.0.0.1", "10.0.0.2")
    here.transport.abortConnection()
    pair.run(100)
    pair.network.heal_all()
    pair.run(100)
    assert there.lost is None
    there.transport.write(b"hello?")
    pair.run()
    assert there.lost is ConnectionLost


def test_what_was_sent_just_before_a_reset_arrives_or_its_end_is_lost() -> None:
    for reset_loss in (0.0, 1.0):
        arrived = set()
        for seed in range(10):
            pair = Pair(seed, reset_loss=reset_loss)
            here, there = pair.connect()
            for data in (b"one ", b"two ", b"three"):
                here.transport.write(data)
                pair.run(1e-9)
            here.transport.abortConnection()
            pair.run()
            assert there.lost is ConnectionLost
            arrived.add(bytes(there.data))
        whole = {b"one two three"}
        assert arrived == whole if not reset_loss else arrived <= {b"", b"one ", b"one two "} and len(arrived) > 1


def test_nobody_sends_again_what_a_cut_link_has_swallowed_before_a_reset() -> None:
    pair = Pair(reset_loss=0.0)
    here, there = pair.connect()
    here.transport.write(b"swallowed")
    pair.run(1e-9)
    here.transport.abortConnection()
    pair.run(1e-8)
    pair.network.cut("10.0.0.1", "10.0.0.2")
    pair.run(10)
    pair.network.heal_all()
    pair.run(10)
    assert (there.data, there.lost) == (b"", None)
    there.transport.write(b"hello?")
    pair.run()
    assert there.lost is ConnectionLost


def test_who_has_filled_the_window_of_an_end_that_is_gone_learns_of_it_when_the_link_is_healed() -> None:
    pair = Pair(window_bytes=5_000)
    here, there = pair.connect()
    pair.network.cut("10.0.0.2", "10.0.0.1")
    pair.run()
    there.transport.abortConnection()
    pair.run()
    here.transport.write(bytes(20_000))
    pair.run(5)
    assert here.lost is None
    pair.network.heal_all()
    pair.run(5)
    assert here.lost is ConnectionLost


def test_a_host_without_power_says_nothing_until_it_is_back() -> None:
    pair = Pair()
    here, _ = pair.connect()
    pair.network.down["10.0.0.2"] = None
    pair.far.kill()
    pair.network.process_killed(pair.far, silent=True)
    here.transport.write(b"hello?")
    pair.run(30)
    assert here.lost is None
    del pair.network.down["10.0.0.2"]
    pair.run()
    assert here.lost is ConnectionLost


def test_a_killed_process_closes_and_a_host_without_power_does_not() -> None:
    for silent in (False, True):
        pair = Pair()
        here, there = pair.connect()
        here.transport.write(b"sent")
        pair.run()
        pair.near.kill()
        pair.network.process_killed(pair.near, silent=silent)
        pair.run()
        assert there.data == b"sent"
        assert there.lost is (None if silent else ConnectionDone)
        assert here.lost is None


def test_a_reset_connection_is_lost_at_both_ends() -> None:
    pair = Pair()
    here, there = pair.connect()
    pair.network.reset(end_of(pair, here))
    pair.run()
    assert here.lost is ConnectionLost
    assert there.lost is ConnectionLost


@pytest.mark.parametrize(
    ("fault", "expected"), [("none", ConnectionRefusedError), ("cut", TimeoutError), ("down", TimeoutError)]
)
def test_connecting_fails_as_it_does_in_reality(fault: str, expected: type[Exception]) -> None:
    pair = Pair()
    if fault == "cut":
        pair.network.cut("10.0.0.2", "10.0.0.1")
    elif fault == "down":
        pair.network.down["10.0.0.2"] = None
    failures: list[Any] = []
    TCP4ClientEndpoint(pair.near, "10.0.0.2", 80, timeout=2).connect(Factory()).addErrback(failures.append)
    pair.run(5)
    assert failures[0].type is expected
    assert pair.near.getDelayedCalls() == []


def test_what_comes_of_an_attempt_that_has_timed_out_does_not_count_for_the_next_one() -> None:
    class Again(ClientFactory):
        noisy = False
        failures = 0
        made: list[Recorder] = []  # noqa: RUF012

        def buildProtocol(self, addr: Any) -> Recorder:  # type: ignore[override]
            self.made.append(Recorder())
            return self.made[-1]

        def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
            assert reason.type is TimeoutError
            self.failures += 1
            connector.connect()

    pair = Pair(latency_seconds_min=1.5, latency_seconds_max=1.5)
    pair.far.listenTCP(80, pair.factory)
    pair.network.down["10.0.0.2"] = None
    factory = Again()
    pair.near.connectTCP("10.0.0.2", 80, factory, timeout=8.0)
    pair.run(20)
    pair.network.down.clear()
    pair.run(20)
    assert factory.failures >= 2
    assert len(factory.made) == len(pair.accepted) == 1
    assert len(pair.network.transports) == 2
    assert pair.near.getDelayedCalls() == []


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_connection_that_a_process_was_not_told_of_is_reset_when_its_port_closes(how: str) -> None:
    pair = Pair()
    port = pair.far.listenTCP(80, pair.factory)
    pair.far.freeze()
    dialing: Any = TCP4ClientEndpoint(pair.near, "10.0.0.2", 80).connect(Factory.forProtocol(Recorder))
    pair.run()
    if how == "closed":
        port.stopListening()
        pair.far.thaw()
    else:
        pair.far.kill()
        pair.network.process_killed(pair.far, silent=False)
    pair.run()
    assert dialing.result.lost is ConnectionLost
    assert not pair.accepted
    assert not pair.network.transports
    assert not pair.network.ports


def test_an_attempt_fails_if_the_connection_is_reset_before_the_process_looks() -> None:
    pair = Pair()
    pair.far.listenTCP(80, pair.factory)
    failures: list[Any] = []
    TCP4ClientEndpoint(pair.near, "10.0.0.2", 80).connect(Factory.forProtocol(Recorder)).addErrback(failures.append)
    pair.near.freeze()
    pair.run()
    pair.accepted[0].transport.abortConnection()
    pair.run()
    pair.near.thaw()
    pair.run()
    assert [failure.type for failure in failures] == [ConnectError]
    assert not pair.network.transports
    assert pair.near.getDelayedCalls() == []


def test_a_link_that_is_cut_while_it_is_dialled_over_connects_when_it_is_healed() -> None:
    pair = Pair(latency_seconds_min=0.1, latency_seconds_max=0.1)
    pair.far.listenTCP(80, pair.factory)
    dialing: Any = TCP4ClientEndpoint(pair.near, "10.0.0.2", 80).connect(Factory.forProtocol(Recorder))
    assert pair.timeline.run_while(lambda: not pair.accepted, 1.0, 0.001)
    pair.network.cut("10.0.0.2", "10.0.0.1")
    pair.accepted[0].transport.write(b"hello")
    pair.run(5)
    assert not dialing.called
    pair.network.heal_all()
    pair.run(5)
    assert dialing.result.data == b"hello"


def test_an_attempt_can_be_cancelled() -> None:
    pair = Pair()
    pair.far.listenTCP(80, pair.factory)
    dialing: Any = TCP4ClientEndpoint(pair.near, "10.0.0.2", 80).connect(Factory())
    dialing.addErrback(lambda failure: None)
    dialing.cancel()
    pair.run()
    assert not pair.network.transports
    assert pair.near.getDelayedCalls() == []


def test_a_frozen_process_is_connected_to_and_reads_later() -> None:
    pair = Pair()
    pair.far.listenTCP(80, pair.factory)
    pair.far.freeze()
    dialing: Any = TCP4ClientEndpoint(pair.near, "10.0.0.2", 80).connect(Factory.forProtocol(Recorder))
    pair.run()
    dialing.result.transport.write(b"hello")
    pair.run(10)
    assert not pair.accepted
    pair.far.thaw()
    pair.run()
    assert pair.accepted[0].data == b"hello"


def test_a_port_is_taken_once_and_free_after_a_kill() -> None:
    pair = Pair()
    pair.far.listenTCP(80, pair.factory)
    with pytest.raises(CannotListenError):
        pair.far.listenTCP(80, pair.factory)
    pair.far.kill()
    pair.network.process_killed(pair.far, silent=False)
    SimulatedReactor("again", "10.0.0.2", pair.timeline, pair.network).listenTCP(80, pair.factory).stopListening()
    pair.run()
    assert not pair.network.ports


def test_timers_go_by_the_clock_of_their_host() -> None:
    timeline = Timeline(1)
    network = Network(timeline)
    fast = SimulatedReactor("fast", "10.0.0.1", timeline, network, HostClock(rate=2.0, offset=50.0))
    fired: list[tuple[str, float]] = []
    for name, delay in (("b", 4.0), ("a", 2.0), ("cancelled", 3.0), ("reset", 1.0)):
        call = fast.callLater(delay, lambda name=name: fired.append((name, timeline.now)))
        if name == "cancelled":
            call.cancel()
        if name == "reset":
            call.reset(6.0)
    beats: list[float] = []
    loop = LoopingCall(lambda: beats.append(fast.seconds()))
    loop.clock = fast
    loop.start(1.0)
    timeline.run_until(5.0)
    assert [name for name, _ in fired] == ["a", "b", "reset"]
    assert [round(when, 6) for _, when in fired] == [1.0, 2.0, 3.0]
    assert [round(beat) for beat in beats] == list(range(50, 60))
    loop.stop()
    assert fast.getDelayedCalls() == []


def test_a_slow_process_finds_what_has_come_meanwhile_in_one_turn() -> None:
    timeline = Timeline(1)
    slow = SimulatedReactor("slow", "10.0.0.1", timeline, Network(timeline))
    slow.turn_seconds = 1.0
    seen: list[float] = []
    for delay in (0.1, 0.2, 0.3):
        slow.callLater(delay, lambda: seen.append(round(timeline.now, 6)))
    timeline.run_until(5)
    assert seen == [0.1, 1.1, 1.1]


def test_an_error_in_a_program_is_a_problem_of_the_run() -> None:
    timeline = Timeline(1)
    reactor = SimulatedReactor("wrong", "10.0.0.1", timeline, Network(timeline))
    reactor.callLater(0, lambda: 1 / 0)
    timeline.run_until(1)
    assert "ZeroDivisionError" in timeline.problems[0]
