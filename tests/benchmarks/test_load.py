"""The command, against fake servers."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from benchmarks import load
from benchmarks.fake import map_of, say_yes, serving
from benchmarks.lanes import Measurement
from benchmarks.load import main, median_of
from twistedkv.wire.client import decode_request
from twistedkv.wire.frames import Frame

VALUE = bytes(ord("a") + number % 26 for number in range(load.VALUE_BYTES))
QUICK = ["--seconds", "0.02", "--runs", "1", "--keys", "300", "--in-flight", "1", "4"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "CALIBRATION_SECONDS", 0.01)
    monkeypatch.setattr(load, "CALIBRATION_REQUESTS", 1000)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(say_yes(VALUE), servers=3) as ports:
        assert main([*QUICK, "--json", "--coordinator", f"127.0.0.1:{ports[0]}"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [(row["operation"], row["in_flight"]) for row in printed["results"]] == [
        ("PUT", 1),
        ("GET", 1),
        ("PUT", 4),
        ("GET", 4),
    ]
    assert all(row["per_second"] > 0 and row["failures"] == {} for row in printed["results"])
    assert printed["machine"]["cores"] >= 1
    assert printed["servers"] == 3


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(say_yes(VALUE)) as [port]:
        assert main([*QUICK, "--coordinator", f"127.0.0.1:{port}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "cores" in lines[0]
    assert [line.split()[:2] for line in lines[3:]] == [["PUT", "1"], ["GET", "1"], ["PUT", "4"], ["GET", "4"]]


def test_wrong_values_fail_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(say_yes(b"another")) as [port]:
        assert main([*QUICK, "--coordinator", f"127.0.0.1:{port}"]) == 1
    assert "another value than was stored" in capsys.readouterr().out


def test_every_key_is_loaded_before_anything_is_read() -> None:
    stored: set[bytes] = set()

    def answers(frames: list[Frame]) -> bytes:
        stored.update(decode_request(kind, body).key for kind, _, _, body in frames)  # type: ignore[union-attr]
        return say_yes(VALUE)(frames)

    with serving(answers, servers=3) as ports:
        assert not load.Target(map_of(ports), 500, 2, VALUE).load_all()
    assert len(stored) == 500


def test_nobody_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(say_yes(VALUE)) as [port]:
        pass
    assert main([*QUICK, "--coordinator", f"127.0.0.1:{port}"]) == 1
    assert capsys.readouterr().err.startswith("cannot measure: ")


def test_the_median_of_runs() -> None:
    runs = [Measurement(operations, 2.0, [0.001, 0.002, 0.003], Counter(x=1), 0.5) for operations in (100, 300, 200)]
    row = median_of("PUT", 16, runs)
    assert (row.per_second, row.p50_ms, row.failures) == (100.0, 2.0, {"x": 3})
    assert row.loader_microseconds == 2500.0
