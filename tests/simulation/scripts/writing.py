"""Writing, closing and aborting."""

from __future__ import annotations

from tests.simulation.scripts.acts import abort, lose, script
from tests.support.stages import LOT_BYTES, End, Source, Stage, pattern
from twistedkv.simulation.transport import TRANSPORT_BUFFER_BYTES


@script
def bytes_go_both_ways_whole_and_in_order(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("write", pattern(100_000))
    here.do("write", b"")
    here.do("writeSequence", [b"a", b"", pattern(10)])
    there.do("writeSequence", [])
    there.do("write", pattern(300_000))
    stage.until(lambda: len(here.data) == 300_000 and len(there.data) == 100_011)
    lose(there)
    stage.until_lost(here, there)


@script
def only_bytes_are_written(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("write", "text")
    here.do("write", bytearray(b"array"))
    here.do("writeSequence", [b"good", "bad"])
    lose(here)
    stage.until_lost(here, there)
    here.do("write", "text")


@script
def what_is_written_after_lose_connection_is_sent(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("write", b"before ")
    lose(here)
    here.do("write", b"after ")
    here.do("writeSequence", [b"and ", b"more"])
    lose(here)
    stage.until_lost(here, there)


@script
def what_is_written_while_it_closes_is_sent(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    here.do("write", pattern(LOT_BYTES))
    lose(here)
    stage.until_waiting(there, 1)
    stage.turns()
    here.note("still there")
    here.do("write", b"and more")
    there.do("resumeProducing")
    stage.until_lost(here, there)


@script
def nothing_works_after_the_end_and_nothing_happens(stage: Stage) -> None:
    def everything(end: End) -> None:
        end.do("write", b"too late")
        end.do("writeSequence", [b"too late"])
        end.do("pauseProducing")
        end.do("resumeProducing")
        end.do("registerProducer", Source(end, "push"), True)
        end.do("registerProducer", Source(end, "pull"), False)
        end.do("unregisterProducer")
        end.do("stopProducing")
        lose(end)
        abort(end)

    here, there = stage.pair(lost=everything)
    lose(here)
    stage.until_lost(here, there)
    stage.turns()
    everything(here)
    everything(there)
    stage.turns()


@script
def an_abort_loses_what_was_not_sent(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("write", b"never sent")
    abort(here)
    here.do("write", b"nor this")
    lose(here)
    abort(here)
    here.note("not told yet")
    stage.until_lost(here, there)


@script
def an_abort_after_lose_connection_wins(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("write", b"never sent")
    lose(here)
    abort(here)
    stage.until_lost(here, there)


@script
def writing_on_after_an_abort_still_pauses_a_producer(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("registerProducer", Source(here), True)
    abort(here)
    here.do("write", bytes(TRANSPORT_BUFFER_BYTES + 1))
    stage.until_lost(here, there)


# Closing when somebody is told


@script
def losing_the_connection_when_it_is_made_on_the_dialling_side(stage: Stage) -> None:
    here, there = stage.end("here", made=lose), stage.end("there")
    stage.join(here, there)
    stage.until_lost(here, there)


@script
def losing_the_connection_when_it_is_made_on_the_listening_side(stage: Stage) -> None:
    here, there = stage.end("here"), stage.end("there", made=lose)
    stage.join(here, there)
    stage.until_lost(here, there)


@script
def last_words_when_it_is_made(stage: Stage) -> None:
    def speak(end: End) -> None:
        end.do("write", b"go away")
        lose(end)

    here, there = stage.end("here"), stage.end("there", made=speak)
    stage.join(here, there)
    stage.until_lost(here, there)


@script
def aborting_when_it_is_made_on_the_dialling_side(stage: Stage) -> None:
    here, there = stage.end("here", made=abort), stage.end("there")
    stage.join(here, there)
    stage.until_lost(here, there)


@script
def losing_the_connection_when_data_come_and_more_are_waiting(stage: Stage) -> None:
    here, there = stage.end("here"), stage.end("there", received=lose, rough=True)
    stage.join(here, there)
    there.do("pauseProducing")
    here.do("write", pattern(80_000))
    stage.until_waiting(there, 80_000)
    there.do("resumeProducing")
    stage.until_lost(here, there)
    assert len(there.data) < 80_000


@script
def aborting_when_data_come_and_more_are_waiting(stage: Stage) -> None:
    here, there = stage.end("here"), stage.end("there", received=abort, rough=True)
    stage.join(here, there)
    there.do("pauseProducing")
    here.do("write", pattern(80_000))
    stage.until_waiting(there, 80_000)
    there.do("resumeProducing")
    stage.until_lost(here, there)
    assert len(there.data) < 80_000


@script
def an_answer_and_lose_connection_when_data_come(stage: Stage) -> None:
    def answer(end: End) -> None:
        end.do("write", b"answer")
        lose(end)

    here, there = stage.end("here"), stage.end("there", received=answer, rough=True)
    stage.join(here, there)
    here.do("write", b"question")
    stage.until_lost(here, there)


@script
def an_answer_arrives_though_questions_are_left_unread(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    here.do("write", b"questions")
    stage.until_waiting(there, 9)
    there.do("write", pattern(20_000))
    lose(there)
    stage.until_lost(here, there)


@script
def stop_producing_is_lose_connection(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("write", b"before")
    here.do("stopProducing")
    stage.until_lost(here, there)


@script
def pausing_when_it_is_made(stage: Stage) -> None:
    def pause(end: End) -> None:
        end.do("write", b"hello from " + end.name.encode())
        end.do("pauseProducing")

    here, there = stage.end("here", made=pause), stage.end("there", made=pause)
    stage.join(here, there)
    stage.until_waiting(here, 16)
    stage.until_waiting(there, 15)
    stage.turns()
    for end in (here, there):
        end.note("reads on")
        end.do("resumeProducing")
    stage.until(lambda: len(here.data) == 16 and len(there.data) == 15)
    lose(here)
    stage.until_lost(here, there)


# Both ends.


@script
def both_lose_the_connection_at_once(stage: Stage) -> None:
    here, there = stage.pair()
    lose(here)
    lose(there)
    stage.until_lost(here, there)


@script
def both_write_and_lose_the_connection_at_once(stage: Stage) -> None:
    here, there = stage.pair()
    for end in (here, there):
        end.do("write", b"last words that nobody reads")
        lose(end)
    stage.until_lost(here, there)


@script
def both_abort_at_once(stage: Stage) -> None:
    here, there = stage.pair()
    abort(here)
    abort(there)
    stage.until_lost(here, there)


# Closing one direction.


@script
def one_direction_is_closed_and_the_other_end_closes_both(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("write", b"all there is")
    here.do("loseWriteConnection")
    here.do("write", b"in the same turn")
    stage.until_lost(here, there)


@script
def ends_that_know_half_close_read_on(stage: Stage) -> None:
    here, there = stage.pair(half_closes=True)
    here.do("write", b"question")
    here.do("loseWriteConnection")
    stage.until_closed(there)
    stage.turns()
    here.do("write", b"ignored")
    there.do("write", b"answer")
    stage.until(lambda: here.data)
    lose(there)
    stage.until_lost(there)
    stage.turns()
    here.note("still there")
    lose(here)
    stage.until_lost(here)


@script
def an_end_that_has_closed_one_direction_is_reset(stage: Stage) -> None:
    here, there = stage.pair(half_closes=True)
    here.do("loseWriteConnection")
    stage.until_closed(there)
    stage.turns()
    abort(there)
    stage.until_lost(here, there)


@script
def both_close_one_direction(stage: Stage) -> None:
    here, there = stage.pair(half_closes=True)
    for end in (here, there):
        end.do("write", b"all there is")
        end.do("loseWriteConnection")
    stage.until_closed(here)
    stage.until_closed(there)
    stage.turns()
    for end in (here, there):
        end.note("still there")
        lose(end)
    stage.until_lost(here, there)


@script
def lose_connection_overtakes_closing_one_direction(stage: Stage) -> None:
    here, there = stage.pair(half_closes=True)
    here.do("write", b"all there is")
    here.do("loseWriteConnection")
    lose(here)
    stage.until_lost(here)
    stage.until(lambda: there.data)
    stage.turns()
    lose(there)
    stage.until_lost(there)
