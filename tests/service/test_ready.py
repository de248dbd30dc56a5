"""What a person is told when the cluster is ready can be pasted."""

import json
import sys
from pathlib import Path

import pytest

from twistedkv.service.ready import announcement, command_line, write_ready_file


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment in the current directory, not activated."""
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    for name in ("python", "twistedkv"):
        (scripts / name).write_text("#!/bin/sh\n")
        (scripts / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    return scripts


def test_a_tool_that_is_not_on_the_path_is_named_by_its_own(installation: Path) -> None:
    assert command_line("127.0.0.1:7400") == ".venv/bin/twistedkv"
    assert "\n  .venv/bin/twistedkv get greeting\n" in announcement("127.0.0.1:7400")


def test_from_elsewhere_its_path_is_whole(
    installation: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert command_line("127.0.0.1:7400") == str(installation / "twistedkv")


def test_in_an_active_environment_the_name_is_enough(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(installation))
    assert command_line("127.0.0.1:7400") == "twistedkv"
    assert command_line("127.0.0.1:7401") == "twistedkv --coordinator 127.0.0.1:7401"


def test_the_ready_file_is_complete(tmp_path: Path) -> None:
    write_ready_file(tmp_path / "ready", "127.0.0.1:1")
    assert json.loads((tmp_path / "ready").read_text())["address"] == "127.0.0.1:1"
    assert [path.name for path in tmp_path.iterdir()] == ["ready"]
