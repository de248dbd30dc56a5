"""What is written down of a run: everything that was answered, and what may have been done."""

from __future__ import annotations

import io

from twistedkv.history.record import read_history
from twistedkv.torture.meter import Meter
from twistedkv.torture.traffic import WrittenHistory


def test_the_file_has_what_is_checked() -> None:
    stream, meter = io.StringIO(), Meter()
    history = WrittenHistory(lambda: 1.0, meter, stream)
    for key, f, result in [
        ("answered", "read", "ok"),
        ("not answered", "read", "fail"),
        ("not done", "write", "fail"),
        ("unknown", "write", "info"),
    ]:
        history.end(history.begin(1, key, f, ["x"] if f == "write" else []), result)
    history.begin(2, "never answered", "read", [])
    history.begin(3, "under way", "write", ["y"])
    assert len(stream.getvalue().splitlines()) == 3
    history.finish()
    written = list(read_history(stream.getvalue().splitlines()))
    assert [record.key for record in written] == ["answered", "not done", "unknown", "under way"]
    assert [record.op for record in written] == [record.op for record in history.relevant]
    assert (meter.answered, meter.total_not_done, meter.total_unknown) == (1, 2, 1)


def test_what_is_read_at_the_end_is_no_load() -> None:
    stream, meter = io.StringIO(), Meter()
    history = WrittenHistory(lambda: 1.0, meter, stream)
    history.stop_measuring()
    history.end(history.begin(1, "k", "read", []), "ok")
    assert meter.answered == 0
    assert len(stream.getvalue().splitlines()) == 1
