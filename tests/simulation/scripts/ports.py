"""Ports, connectors and their factories; errors in a program."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import CannotListenError

from tests.simulation.scripts.acts import abort, fail, lose, script
from tests.support.stages import End, Source, Stage
from twistedkv.simulation.transport import TRANSPORT_BUFFER_BYTES


@script
def nobody_listens(stage: Stage) -> None:
    port = stage.listen()
    number = port.getHost().port
    port.stopListening()
    stage.turns()
    connector = stage.dial(None, number)
    stage.until(lambda: connector.factory.over)
    stage.turns()


@script
def a_port_that_listens_no_more_keeps_its_connections(stage: Stage) -> None:
    here, there = stage.end("here"), stage.end("there")
    port = stage.listen(there)
    number = port.getHost().port
    stage.dial(here, number)
    stage.until(lambda: here.is_made and there.is_made)
    port.stopListening().addCallback(lambda _: stage.note("listening", "closed"))
    stage.note("listening", "not closed yet")
    stage.turns()
    stage.note("listening", f"again: {port.stopListening()}")
    second = stage.dial(None, number)
    stage.until(lambda: second.factory.over)
    here.do("write", b"still there")
    stage.until(lambda: there.data)
    lose(there)
    stage.until_lost(here, there)


@script
def a_port_is_taken_until_it_is_closed(stage: Stage) -> None:
    port = stage.listen()
    number = port.getHost().port

    def attempt() -> None:
        try:
            stage.listen(port=number)
        except CannotListenError as error:
            stage.note("listening", f"{type(error).__name__}: {error.port == number}")

    attempt()
    port.stopListening()
    attempt()
    stage.turns()
    attempt()


@script
def a_listening_factory_that_gives_no_protocol_closes(stage: Stage) -> None:
    here = stage.end("here")
    connector = stage.dial(here, stage.listen().getHost().port)
    stage.until_lost(here)
    stage.until(lambda: connector.factory.over)


@script
def a_dialling_factory_that_gives_no_protocol_closes(stage: Stage) -> None:
    there = stage.end("there")
    connector = stage.dial(None, stage.listen(there).getHost().port)
    stage.until_lost(there)
    stage.until(lambda: connector.factory.over)


@script
def an_attempt_is_stopped(stage: Stage) -> None:
    connector = stage.dial(None, stage.listen().getHost().port)
    stage.note("dialling", "stop")
    connector.stopConnecting()
    stage.note("dialling", "stopped")
    try:
        connector.stopConnecting()
    except Exception as error:
        stage.note("dialling", type(error).__name__)
    connector.disconnect()
    stage.turns()


@script
def an_attempt_is_disconnected(stage: Stage) -> None:
    connector = stage.dial(None, stage.listen().getHost().port)
    connector.disconnect()
    stage.note("dialling", "stopped")
    stage.turns()


@script
def an_attempt_is_stopped_as_it_begins(stage: Stage) -> None:
    def prepare(factory: Any) -> None:
        factory.started = lambda connector: connector.stopConnecting()

    stage.dial(None, stage.listen().getHost().port, prepare=prepare)
    stage.note("dialling", "stopped")
    stage.turns()


@script
def a_connector_disconnects(stage: Stage) -> None:
    here, there = stage.end("here"), stage.end("there")
    connector = stage.dial(here, stage.listen(there).getHost().port)
    stage.until(lambda: here.is_made and there.is_made)
    connector.disconnect()
    stage.until_lost(here, there)
    connector.disconnect()
    stage.turns()


@script
def a_connector_connects_again(stage: Stage) -> None:
    left = [1]

    def again(connector: Any) -> None:
        if left:
            left.pop()
            stage.note("dialling", "again")
            connector.connect()

    here, there, second = stage.end("here"), stage.end("there"), stage.end("second")

    def prepare(factory: Any) -> None:
        factory.ended = again

    connector = stage.dial(here, stage.listen(there, second).getHost().port, prepare=prepare)
    stage.until(lambda: here.is_made and there.is_made)
    connector.factory.end = stage.end("here again")
    lose(there)
    stage.until(lambda: second.is_made)
    lose(second)
    stage.until_lost(*stage.ends)


@script
def addresses_are_those_of_the_other_end_crosswise(stage: Stage) -> None:
    here, there = stage.end("here"), stage.end("there")
    port = stage.listen(there)
    connector = stage.dial(here, port.getHost().port)
    stage.until(lambda: here.is_made and there.is_made)
    stage.note("addresses", f"{here.do('getHost') == there.do('getPeer')}, {here.do('getPeer') == there.do('getHost')}")
    stage.note(
        "addresses", f"{port.getHost() == there.do('getHost')}, {connector.getDestination() == here.do('getPeer')}"
    )
    stage.note("addresses", f"{here.do('getHost').type}, {here.do('getHost').host == here.stage.near_host}")
    before = [here.do("getPeer"), there.do("getPeer")]
    for enabled in (True, False):
        here.do("setTcpNoDelay", enabled)
        there.do("setTcpKeepAlive", enabled)
        here.note(f"{here.do('getTcpNoDelay')} and {there.do('getTcpKeepAlive')}")
    lose(here)
    stage.until_lost(here, there)
    for end in (here, there):
        end.do("getHost")
        end.do("setTcpNoDelay", True)
        end.do("getTcpNoDelay")
        end.do("setTcpKeepAlive", True)
        end.do("getTcpKeepAlive")
    stage.note("addresses", f"{before == [here.do('getPeer'), there.do('getPeer')]}")
    port.stopListening()
    stage.turns()
    try:
        port.getHost()
    except Exception as error:
        stage.note("listening", type(error).__name__)


# Errors in a program.


@script
def an_error_when_data_come_ends_the_connection(stage: Stage) -> None:
    here, there = stage.end("here"), stage.end("there", received=fail, rough=True)
    stage.join(here, there)
    here.do("write", b"wrong")
    stage.until_lost(here, there)
    there.note(f"logged: {stage.errors()}")


@script
def an_error_after_an_abort_is_the_reason(stage: Stage) -> None:
    def both(end: End) -> None:
        abort(end)
        fail(end)

    here, there = stage.end("here"), stage.end("there", received=both, rough=True)
    stage.join(here, there)
    here.do("write", b"wrong")
    stage.until_lost(here, there)
    stage.turns()
    there.note(f"logged: {stage.errors()}")


@script
def an_error_of_a_producer_that_is_resumed_ends_the_connection(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("registerProducer", Source(here, more=lambda source: fail(source.end)), True)
    here.do("write", bytes(TRANSPORT_BUFFER_BYTES + 1))
    stage.until_lost(here, there)
    here.note(f"logged: {stage.errors()}")


@script
def an_error_when_the_dialling_side_is_made_ends_the_connection(stage: Stage) -> None:
    here, there = stage.end("here", made=fail), stage.end("there")
    stage.join(here, there)
    stage.until_lost(here, there)
    here.note(f"logged: {stage.errors()}")


@script
def an_error_when_the_listening_side_is_made_does_not(stage: Stage) -> None:
    here, there = stage.end("here"), stage.end("there", made=fail)
    stage.join(here, there)
    here.do("write", b"hello")
    stage.until(lambda: there.data)
    there.note(f"logged: {stage.errors()}")
    lose(here)
    stage.until_lost(here, there)


@script
def an_error_when_it_is_lost_is_only_logged(stage: Stage) -> None:
    here, there = stage.pair(lost=fail)
    lose(here)
    stage.until_lost(here, there)
    stage.turns()
    here.note(f"logged: {stage.errors()}")
