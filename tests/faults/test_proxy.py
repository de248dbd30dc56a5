"""The proxy that makes links bad, on a network in memory; and once as the process that it is."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol

from tests.faults.proxy import BUFFER_BYTES_MAX, Proxy, Weather
from tests.live.cluster import free_port, wait_for
from tests.support.transport import MemoryNetwork

ROOT = Path(__file__).resolve().parents[2]
TARGET, LISTENING = ("127.0.0.1", 7401), ("127.0.0.1", 7501)


class Collecting(Protocol):
    """Keeps what it receives, and when."""

    transport: Any

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network
        self.received = bytearray()
        self.times: list[float] = []
        self.lost = ""

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.times.append(round(self.network.seconds(), 3))

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = reason.type.__name__


class World:
    """A target, the proxy before it, and those who dial."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.proxy = Proxy(self.network, TARGET)
        self.targets: list[Collecting] = []
        self.network.listenTCP(TARGET[1], Factory.forProtocol(self._accepted), interface=TARGET[0])
        self.proxy.listen(*LISTENING)

    def _accepted(self) -> Collecting:
        self.targets.append(Collecting(self.network))
        return self.targets[-1]

    def dial(self) -> Collecting:
        """Somebody who is connected through the proxy."""
        dialer = Collecting(self.network)
        factory = Factory.forProtocol(lambda: dialer)
        factory.startedConnecting = factory.clientConnectionFailed = lambda *_: None  # type: ignore[attr-defined]
        self.network.connectTCP(*LISTENING, factory)
        self.network.settle()
        return dialer


@pytest.fixture
def world() -> World:
    return World()


def test_in_good_weather_bytes_pass_both_ways_and_the_end_comes_after_them(world: World) -> None:
    dialer = world.dial()
    [target] = world.targets
    dialer.transport.write(b"there")
    target.transport.write(b"back")
    world.network.settle()
    assert (bytes(target.received), bytes(dialer.received)) == (b"there", b"back")
    dialer.transport.write(b" and the end")
    dialer.transport.loseConnection()
    world.network.settle()
    assert bytes(target.received) == b"there and the end"
    assert (target.lost, dialer.lost) == ("ConnectionDone", "ConnectionDone")
    assert world.proxy.command({}) == {"links": 0, "accepted": 1, "buffered": 0}
    assert world.network.getDelayedCalls() == []


def test_who_speaks_before_the_target_was_reached_is_heard(world: World) -> None:
    dialer = Collecting(world.network)
    dialer.connectionMade = lambda: dialer.transport.write(b"hello")  # type: ignore[method-assign]
    factory = Factory.forProtocol(lambda: dialer)
    factory.startedConnecting = lambda *_: None  # type: ignore[attr-defined]
    world.network.connectTCP(*LISTENING, factory)
    world.network.settle()
    assert bytes(world.targets[0].received) == b"hello"


def test_a_delay_and_jitter_keep_the_order(world: World) -> None:
    dialer = world.dial()
    world.proxy.change(Weather(delay_seconds=0.5, jitter_seconds=0.3), "there")
    for i in range(50):
        dialer.transport.write(b"%02d" % i)
        world.network.pump_seconds(0.01)
    [target] = world.targets
    target.transport.write(b"the other direction is as it was")
    world.network.settle()
    assert dialer.times == [0.5]
    assert target.times == []
    world.network.pump_seconds(1)
    assert bytes(target.received) == b"".join(b"%02d" % i for i in range(50))
    assert 0.5 <= target.times[0] <= 0.85
    assert target.times == sorted(target.times)


def test_a_throttled_direction_delivers_so_many_bytes_a_second_and_presses_back(world: World) -> None:
    dialer = world.dial()
    world.proxy.change(Weather(bytes_per_second=10_000), "there")
    dialer.transport.write(bytes(10 * BUFFER_BYTES_MAX))
    world.network.pump_seconds(1)
    [target] = world.targets
    assert 9_000 <= len(target.received) <= 10_600
    assert world.proxy.command({})["buffered"] <= 11 * BUFFER_BYTES_MAX
    more = bytes(1000)
    dialer.transport.write(more)
    world.network.pump_seconds(1)
    assert bytes(dialer.transport.written) == more, "the proxy does not read any more"
    world.proxy.change(Weather())
    world.network.settle()
    assert len(target.received) == 10 * BUFFER_BYTES_MAX + 1000
    assert dialer.transport.written == b""


def test_a_target_that_does_not_read_is_felt_by_who_writes(world: World) -> None:
    dialer = world.dial()
    [target] = world.targets
    target.transport.pauseProducing()
    for _ in range(20):
        dialer.transport.write(bytes(BUFFER_BYTES_MAX // 2))
        world.network.settle()
    held = world.proxy.command({})["buffered"]
    assert held <= 2 * BUFFER_BYTES_MAX
    assert len(dialer.transport.written) > 0
    target.transport.resumeProducing()
    world.network.settle()
    assert len(target.received) == 10 * BUFFER_BYTES_MAX


def test_a_half_open_link_swallows_everything_and_is_reset_when_it_is_over(world: World) -> None:
    dialer = world.dial()
    world.proxy.change(Weather(silent=True))
    dialer.transport.write(b"lost")
    world.network.pump_seconds(60)
    newer = world.dial()
    newer.transport.write(b"lost as well")
    world.network.settle()
    assert [bytes(target.received) for target in world.targets] == [b"", b""]
    assert (dialer.lost, newer.lost) == ("", "")
    world.proxy.change(Weather())
    world.network.settle()
    assert {dialer.lost, newer.lost, *(target.lost for target in world.targets)} == {"ConnectionLost"}
    again = world.dial()
    again.transport.write(b"heard")
    world.network.settle()
    assert bytes(world.targets[-1].received) == b"heard"


def test_nobody_hears_of_an_end_on_a_half_open_link(world: World) -> None:
    dialer = world.dial()
    world.proxy.change(Weather(silent=True))
    dialer.transport.loseConnection()
    world.network.pump_seconds(60)
    assert (dialer.lost, world.targets[0].lost) == ("ConnectionDone", "")
    world.proxy.change(Weather())
    world.network.settle()
    assert world.targets[0].lost == "ConnectionLost"
    assert world.proxy.links == {}


def test_a_link_is_cut_after_so_many_bytes(world: World) -> None:
    dialer = world.dial()
    world.proxy.change(Weather(cut_after_bytes=7), "there")
    dialer.transport.write(b"first")
    dialer.transport.write(b"second")
    world.network.settle()
    assert bytes(world.targets[0].received) == b"firstse"
    assert (dialer.lost, world.targets[0].lost) == ("ConnectionLost", "ConnectionDone")
    assert world.proxy.links == {}


def test_all_links_can_be_reset_and_what_is_on_its_way_is_lost(world: World) -> None:
    dialers = [world.dial(), world.dial()]
    world.proxy.change(Weather(delay_seconds=1))
    dialers[0].transport.write(b"on its way")
    world.network.pump_seconds(0.5)
    assert world.proxy.command({"reset": True})["links"] == 0
    world.network.pump_seconds(2)
    assert bytes(world.targets[0].received) == b""
    assert {end.lost for end in (*dialers, *world.targets)} == {"ConnectionLost"}
    assert world.network.getDelayedCalls() == []


def test_who_dials_while_there_is_no_target_is_reset(world: World) -> None:
    world.network.ports[TARGET].stopListening()
    assert world.dial().lost == "ConnectionLost"
    assert world.proxy.links == {}


def test_a_dialer_that_goes_away_while_the_target_is_dialled(world: World) -> None:
    link = world.proxy.new_link()
    dialer = Collecting(world.network)
    world.network.connection(link.accepted, dialer)
    dialer.transport.abortConnection()
    dialer.transport.deliver()
    link.accepted.transport.deliver()
    world.network.settle()
    assert world.proxy.links == {}
    assert [target.lost for target in world.targets] in ([], ["ConnectionLost"])


def test_the_proxy_as_a_process() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as target:
        target.settimeout(10)
        where = [f"127.0.0.1:{port}", f"127.0.0.1:{target.getsockname()[1]}"]
        with subprocess.Popen(
            [sys.executable, "-m", "tests.faults.proxy", *where],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None

            def command(**fields: Any) -> dict[str, Any]:
                process.stdin.write(json.dumps(fields) + "\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
                return json.loads(process.stdout.readline())  # type: ignore[no-any-return,union-attr]

            assert command()["links"] == 0
            with socket.create_connection(("127.0.0.1", port), timeout=10) as dialer:
                accepted, _ = target.accept()
                with accepted:
                    accepted.settimeout(10)
                    dialer.sendall(b"hello")
                    assert accepted.recv(100) == b"hello"
                    command(weather={"silent": True})
                    dialer.sendall(b"lost")
                    wait_for("one link", lambda: command()["links"] == 1)
                    command(reset=True)
                    with pytest.raises(ConnectionResetError):
                        accepted.recv(100)
            process.stdin.close()
            assert process.wait(10) == 0
