"""The long run's command: what it says, and that what it finds is kept. Without atheris, which need not be there."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.fuzz import target, targets
from tests.fuzz.targets import TARGETS


def test_without_atheris_a_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(target, "find_spec", lambda name: None)
    assert target.main(["frames"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "make fuzz" in said.err


def test_a_target_that_is_not_there_is_refused_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        target.main(["nothing"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in ["nothing", *TARGETS])


def test_the_targets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert target.main(["--list"]) == 0
    assert capsys.readouterr().out.split() == list(TARGETS)


def test_the_row_of_a_target(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = "#9 DONE\nstat::number_of_executed_units: 12345\nstat::peak_rss_mb:              66\n"

    def run(command: list[str], **_: Any) -> Any:
        assert command[:3] == [sys.executable, "-m", "tests.fuzz.target"]
        return subprocess.CompletedProcess(command, 0, "", said)

    monkeypatch.setattr(target, "find_spec", lambda name: True)
    monkeypatch.setattr(target.subprocess, "run", run)
    monkeypatch.setattr(target, "CORPUS", tmp_path)
    monkeypatch.setattr(target, "CRASHERS", tmp_path)
    assert target.main(["frames", "--seconds", "10"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["frames", "12,345", "1,234", "66", "0", "0"]


class FakeAtheris(ModuleType):
    """Gives the target a few inputs and ends."""

    def __init__(self, inputs: list[bytes]) -> None:
        super().__init__("atheris")
        self.inputs = inputs
        self.options: list[str] = []

    def instrument_imports(self, include: list[str]) -> Any:
        assert include == ["twistedkv"]
        return contextlib.nullcontext()

    def Setup(self, options: list[str], one_input: Any) -> None:
        self.options, self.one_input = options, one_input

    def Fuzz(self) -> None:
        for data in self.inputs:
            self.one_input(data)


def test_one_input_is_kept_for_each_place_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(data: bytes) -> None:
        if data.startswith(b"x"):
            raise KeyError(data)
        assert not data.startswith(b"y")

    wrong = targets.Target("wrong", check, lambda: [b"seed"], (), words=(b'"\xff',))
    fake = FakeAtheris([b"good", b"x1", b"x2", b"y1", b"y2"])
    monkeypatch.setitem(sys.modules, "atheris", fake)
    monkeypatch.setitem(TARGETS, "wrong", wrong)
    monkeypatch.setattr(target, "ROOT", Path(__file__).parent)
    monkeypatch.setattr(target, "CORPUS", tmp_path / "corpus")
    monkeypatch.setattr(target, "CRASHERS", tmp_path / "crashers")
    target.main(["wrong", "--inside", "--seconds", "1"])
    assert sorted(path.read_bytes() for path in (tmp_path / "crashers" / "wrong").iterdir()) == [b"x1", b"y1"]
    assert "KeyError" in capsys.readouterr().err
    assert (tmp_path / "corpus" / "wrong.seeds" / "000").read_bytes() == b"seed"
    assert (tmp_path / "corpus" / "wrong.words").read_text() == '"\\x22\\xff"\n'
    assert f"-max_len={wrong.bytes_max}" in fake.options
