"""The simulated network does to both ends of a connection what real sockets and Twisted's epoll reactor do to them."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.scripts import SCRIPTS, ports, producers, reading, writing
from tests.support.stages import RealStage, SimulatedStage, Stage
from twistedkv.simulation.connecting import Connector
from twistedkv.simulation.transport import SimulatedTransport

SEEDS = range(1, 6)
every_script = pytest.mark.parametrize("play", SCRIPTS, ids=lambda play: play.__name__)


def simulated(play: Callable[[Stage], None], seed: int = 1) -> dict[str, list[str]]:
    """What is written down on the simulated network. Loopback loses nothing that was sent, so nor does this."""
    return SimulatedStage(seed, pieces=0.5, reset_loss=0.0).play(play)


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="what is simulated is Linux")
@every_script
def test_both_ends_are_told_the_same(play: Callable[[Stage], None], logged_errors: Any) -> None:
    real = RealStage(logged_errors.events).play(play)
    assert real
    for seed in SEEDS:
        assert simulated(play, seed) == real, f"seed {seed}"


def _told_though_paused(transport: SimulatedTransport) -> None:
    transport._reading = True
    _reset_arrived(transport)


def _silent(transport: SimulatedTransport, *_: Any) -> None:
    pass


def _only_before_the_end(transport: SimulatedTransport, data: bytes) -> None:
    if not transport.disconnecting:
        _write(transport, data)


def _without_fin(transport: SimulatedTransport, **how: bool) -> None:
    how.pop("shut", None)
    _close_socket(transport, **how)


_reset_arrived = SimulatedTransport.reset_arrived
_write = SimulatedTransport.write
_close_socket = SimulatedTransport.close_socket


@pytest.mark.parametrize(
    ("play", "method", "instead"),
    [
        (writing.an_abort_loses_what_was_not_sent, "abortConnection", SimulatedTransport.loseConnection),
        (reading.a_paused_end_gets_nothing_until_it_reads_on, "pauseProducing", _silent),
        (reading.a_paused_end_is_not_told_of_an_abort_and_reads_what_came_before, "reset_arrived", _told_though_paused),
        (writing.what_is_written_after_lose_connection_is_sent, "write", _only_before_the_end),
        (reading.losing_the_connection_with_data_unread_looks_orderly_to_one_who_reads, "close_socket", _without_fin),
        (producers.a_producer_streams, "unregisterProducer", _silent),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_difference_is_seen(
    play: Callable[[Stage], None], method: str, instead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = simulated(play)
    monkeypatch.setattr(SimulatedTransport, method, instead)
    try:
        assert simulated(play) != right
    except RuntimeError as error:
        assert "this takes too long" in str(error)


def test_what_a_script_leaves_over_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connector, "_stop_timer", _silent)
    with pytest.raises(RuntimeError, match="left over"):
        simulated(ports.a_connector_disconnects)
