"""Producers at an end."""

from __future__ import annotations

from tests.simulation.scripts.acts import abort, lose, script
from tests.support.stages import LOT_BYTES, Source, Stage, pattern
from twistedkv.simulation.transport import TRANSPORT_BUFFER_BYTES


@script
def a_producer_is_paused_when_the_buffer_is_full_and_resumed_when_it_is_empty(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("registerProducer", Source(here), True)
    there.do("pauseProducing")
    here.do("write", bytes(TRANSPORT_BUFFER_BYTES))
    here.note("not full")
    here.do("write", pattern(LOT_BYTES))
    here.note("full")
    here.do("write", b"more")
    here.do("writeSequence", [b"and", b"more"])
    stage.until_waiting(there, 1)
    stage.turns()
    here.note("still full")
    there.do("resumeProducing")
    stage.until(lambda: len(there.data) == TRANSPORT_BUFFER_BYTES + LOT_BYTES + 11)
    stage.turns()
    here.do("unregisterProducer")
    lose(here)
    stage.until_lost(here, there)


@script
def a_producer_streams(stage: Stage) -> None:
    chunk = pattern(10_000)

    def more(source: Source) -> None:
        while not source.paused and source.sent < LOT_BYTES:
            source.end.do("write", chunk)
            source.sent += len(chunk)
        if source.sent >= LOT_BYTES and not source.paused:
            source.end.do("unregisterProducer")
            source.end.do("loseConnection")

    here, there = stage.pair()
    source = Source(here, more=more)
    here.do("registerProducer", source, True)
    more(source)
    stage.until_lost(here, there)


@script
def a_pull_producer_is_asked_each_time_the_buffer_is_empty(stage: Stage) -> None:
    def more(source: Source) -> None:
        if source.sent < 5:
            source.sent += 1
            source.end.do("write", pattern(50_000))
        else:
            source.end.do("unregisterProducer")
            source.end.do("loseConnection")

    here, there = stage.pair()
    here.do("registerProducer", Source(here, more=more), False)
    stage.until_lost(here, there)


@script
def a_pull_producer_that_has_nothing_is_not_asked_again(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("registerProducer", Source(here), False)
    stage.turns()
    here.do("write", b"from elsewhere")
    stage.until(lambda: there.data)
    stage.turns()
    lose(there)
    stage.until_lost(here, there)


@script
def a_second_producer_is_refused(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("registerProducer", Source(here, "first"), True)
    here.do("registerProducer", Source(here, "second"), True)
    here.do("unregisterProducer")
    here.do("unregisterProducer")
    here.do("registerProducer", Source(here, "second"), True)
    abort(here)
    stage.until_lost(here, there)


@script
def a_producer_is_resumed_for_the_pause_of_the_one_before_it(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("registerProducer", Source(here, "first"), True)
    here.do("write", bytes(TRANSPORT_BUFFER_BYTES + 1))
    here.do("unregisterProducer")
    here.do("registerProducer", Source(here, "second"), True)
    stage.until(lambda: len(there.data) == TRANSPORT_BUFFER_BYTES + 1)
    stage.turns()
    lose(there)
    stage.until_lost(here, there)


@script
def a_producer_is_stopped_when_the_other_end_closes(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("registerProducer", Source(here), True)
    lose(there)
    stage.until_lost(here, there)


@script
def a_producer_is_stopped_by_an_abort(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("registerProducer", Source(here), True)
    there.do("registerProducer", Source(there), True)
    there.do("pauseProducing")
    here.do("write", bytes(LOT_BYTES))
    stage.until_waiting(there, 1)
    abort(there)
    stage.until_lost(here, there)


@script
def a_producer_that_is_not_paused_does_not_delay_lose_connection(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("registerProducer", Source(here), True)
    here.do("write", b"all there is")
    lose(here)
    stage.until_lost(here, there)


@script
def a_paused_producer_delays_lose_connection_until_it_is_unregistered(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("registerProducer", Source(here), True)
    here.do("write", bytes(TRANSPORT_BUFFER_BYTES + 1))
    lose(here)
    stage.until(lambda: len(there.data) == TRANSPORT_BUFFER_BYTES + 1)
    stage.turns()
    here.note("still there")
    here.do("unregisterProducer")
    stage.until_lost(here, there)


@script
def a_paused_producer_delays_lose_connection_until_it_has_written_again(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("registerProducer", Source(here, more=lambda source: source.end.do("write", b"the rest")), True)
    here.do("write", bytes(TRANSPORT_BUFFER_BYTES + 1))
    lose(here)
    stage.until_lost(here, there)


@script
def a_pull_producer_delays_lose_connection_until_it_is_unregistered(stage: Stage) -> None:
    def more(source: Source) -> None:
        source.sent += 1
        source.end.do("write", pattern(70_000))
        if source.sent == 3:
            source.end.do("unregisterProducer")

    here, there = stage.pair()
    here.do("registerProducer", Source(here, more=more), False)
    lose(here)
    stage.until_lost(here, there)


@script
def a_producer_may_be_registered_after_lose_connection(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("write", b"before")
    lose(here)
    here.do("registerProducer", Source(here, more=lambda source: source.end.do("unregisterProducer")), False)
    stage.until_lost(here, there)


@script
def a_producer_that_comes_late_is_paused_with_the_next_write(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    here.do("write", pattern(LOT_BYTES))
    here.do("registerProducer", Source(here), True)
    stage.until_waiting(there, 1)
    stage.turns()
    here.note("not paused yet")
    here.do("write", b"x")
    there.do("resumeProducing")
    stage.until(lambda: len(there.data) == LOT_BYTES + 1)
    stage.turns()
    lose(there)
    stage.until_lost(here, there)


@script
def a_producer_that_is_stopped_can_do_nothing(stage: Stage) -> None:
    class Eager(Source):
        def stopProducing(self) -> None:
            super().stopProducing()
            self.end.note(f"connected: {bool(self.end.transport.connected)}")
            for method in ("unregisterProducer", "resumeProducing", "loseConnection", "abortConnection"):
                self.end.do(method)
            self.end.do("write", b"too late")

    here, there = stage.pair()
    here.do("registerProducer", Eager(here), True)
    there.do("registerProducer", Eager(there), False)
    lose(here)
    stage.until_lost(here, there)


@script
def lose_connection_by_a_producer_when_it_is_paused(stage: Stage) -> None:
    class Modest(Source):
        def pauseProducing(self) -> None:
            super().pauseProducing()
            lose(self.end)

    here, there = stage.pair()
    here.do("registerProducer", Modest(here, more=lambda source: source.end.do("unregisterProducer")), True)
    here.do("write", bytes(TRANSPORT_BUFFER_BYTES + 1))
    stage.until_lost(here, there)


@script
def an_abort_by_a_pull_producer_when_it_is_asked(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("registerProducer", Source(here, more=lambda source: abort(source.end)), False)
    stage.until_lost(here, there)


@script
def an_abort_by_a_producer_when_it_is_paused(stage: Stage) -> None:
    class Nervous(Source):
        def pauseProducing(self) -> None:
            super().pauseProducing()
            abort(self.end)

    here, there = stage.pair()
    here.do("registerProducer", Nervous(here), True)
    here.do("write", bytes(TRANSPORT_BUFFER_BYTES + 1))
    stage.until_lost(here, there)


@script
def lose_connection_by_a_producer_when_it_is_resumed(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("registerProducer", Source(here, more=lambda source: lose(source.end)), True)
    here.do("write", bytes(TRANSPORT_BUFFER_BYTES + 1))
    stage.until_lost(here, there)
