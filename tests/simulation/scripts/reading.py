"""An end that does not read, and what it is told of the other one."""

from __future__ import annotations

from tests.simulation.scripts.acts import abort, lose, script
from tests.support.stages import LOT_BYTES, Stage, pattern


@script
def a_paused_end_gets_nothing_until_it_reads_on(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    there.do("pauseProducing")
    here.do("write", b"waits")
    stage.until_waiting(there, 5)
    stage.turns()
    there.note("reads on")
    there.do("resumeProducing")
    there.do("resumeProducing")
    stage.until(lambda: there.data)
    lose(here)
    stage.until_lost(here, there)


@script
def an_end_that_pauses_when_data_come_gets_no_more_of_them(stage: Stage) -> None:
    here = stage.end("here")
    there = stage.end("there", received=lambda end: end.do("pauseProducing"), rough=True)
    stage.join(here, there)
    there.do("pauseProducing")
    here.do("write", pattern(80_000))
    stage.until_waiting(there, 80_000)
    there.do("resumeProducing")
    stage.until(lambda: there.data)
    stage.turns()
    there.note("nothing more" if len(there.data) < 80_000 else "all at once")
    lose(there)
    stage.until_lost(here, there)


@script
def a_paused_end_is_not_told_that_the_other_has_closed(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    here.do("write", b"last words")
    lose(here)
    stage.until_closed(there)
    stage.turns()
    there.note("reads on")
    there.do("resumeProducing")
    stage.until_lost(here, there)


@script
def a_paused_end_is_not_told_of_an_abort_and_reads_what_came_before(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    here.do("write", b"last words")
    stage.until_waiting(there, 10)
    abort(here)
    stage.until_reset(there)
    stage.turns()
    there.note("reads on")
    there.do("resumeProducing")
    stage.until_lost(here, there)


@script
def a_paused_end_is_told_of_an_abort_when_it_writes(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    here.do("write", b"never read")
    stage.until_waiting(there, 10)
    abort(here)
    stage.until_reset(there)
    there.do("write", b"is anybody there?")
    stage.until_lost(here, there)


@script
def a_paused_end_is_told_of_an_abort_when_it_closes(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    abort(here)
    stage.until_reset(there)
    lose(there)
    stage.until_lost(here, there)


@script
def an_end_that_reads_on_and_writes_after_an_abort_does_both(stage: Stage) -> None:
    here, there = stage.end("here"), stage.end("there", rough=True)
    stage.join(here, there)
    there.do("pauseProducing")
    here.do("write", b"last words")
    stage.until_waiting(there, 10)
    abort(here)
    stage.until_reset(there)
    there.do("write", b"is anybody there?")
    there.do("resumeProducing")
    stage.until_lost(here, there)


@script
def what_a_paused_end_writes_to_a_closed_one_comes_back_as_a_reset(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    lose(here)
    stage.until_closed(there)
    there.do("write", b"is anybody there?")
    stage.until_reset(there)
    stage.turns()
    there.note("not told yet")
    there.do("write", b"is anybody there?")
    stage.until_lost(here, there)


@script
def an_end_that_reads_on_after_such_a_reset_sees_an_orderly_end(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    here.do("write", b"last words")
    lose(here)
    stage.until_closed(there)
    there.do("write", b"is anybody there?")
    stage.until_reset(there)
    there.do("resumeProducing")
    stage.until_lost(here, there)


@script
def losing_the_connection_with_data_unread_looks_orderly_to_one_who_reads(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    here.do("write", b"never read")
    stage.until_waiting(there, 10)
    lose(there)
    stage.until_lost(here, there)


@script
def losing_the_connection_with_data_unread_is_a_reset_to_one_who_only_writes(stage: Stage) -> None:
    here, there = stage.pair()
    here.do("pauseProducing")
    there.do("pauseProducing")
    here.do("write", pattern(LOT_BYTES))
    stage.until_waiting(there, 1)
    lose(there)
    stage.until_lost(here, there)


@script
def lose_connection_waits_for_a_reader_that_does_not_read(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    here.do("write", pattern(LOT_BYTES))
    lose(here)
    stage.until_waiting(there, 1)
    stage.turns()
    here.note("waits")
    there.do("resumeProducing")
    stage.until_lost(here, there)


@script
def lose_connection_that_waits_is_ended_by_abort(stage: Stage) -> None:
    here, there = stage.end("here"), stage.end("there", rough=True)
    stage.join(here, there)
    there.do("pauseProducing")
    here.do("write", pattern(LOT_BYTES))
    lose(here)
    stage.until_waiting(there, 1)
    stage.turns()
    abort(here)
    stage.until_reset(there)
    there.note("reads on")
    there.do("resumeProducing")
    stage.until_lost(here, there)


@script
def lose_connection_that_waits_is_ended_when_the_other_closes(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    here.do("write", pattern(LOT_BYTES))
    lose(here)
    stage.until_waiting(there, 1)
    stage.turns()
    lose(there)
    stage.until_lost(here, there)


@script
def lose_connection_that_waits_is_ended_when_the_other_aborts(stage: Stage) -> None:
    here, there = stage.pair()
    there.do("pauseProducing")
    here.do("write", pattern(LOT_BYTES))
    lose(here)
    stage.until_waiting(there, 1)
    stage.turns()
    abort(there)
    stage.until_lost(here, there)


@script
def one_who_has_closed_reads_no_more(stage: Stage) -> None:
    here, there = stage.end("here"), stage.end("there", rough=True)
    stage.join(here, there)
    there.do("pauseProducing")
    here.do("write", pattern(LOT_BYTES))
    lose(here)
    stage.until_waiting(there, 1)
    there.do("write", b"nobody reads this")
    stage.until_waiting(here, 17)
    here.do("resumeProducing")
    stage.turns()
    abort(here)
    stage.until_reset(there)
    there.do("resumeProducing")
    stage.until_lost(here, there)
