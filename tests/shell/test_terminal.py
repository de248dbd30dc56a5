"""The line editor: keys in, lines out. What it looks like is tested with the program (tests/cli/test_shell.py)."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import fragment_list_to_text
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from tests.shell.fakes import TABLE, A, World
from twistedkv.shell.completion import Help
from twistedkv.shell.conversation import Conversation
from twistedkv.shell.terminal import CommandCompleter, converse, history_of, history_path, toolbar_of


def typed(keys: str, world: World) -> str:
    """What is written when these keys are typed."""
    written: list[bytes] = []
    conversation = Conversation(world.session(), TABLE, write=written.append, monotonic=lambda: 0.0)
    with create_pipe_input() as pipe:
        pipe.send_text(keys)
        converse(
            conversation,
            TABLE,
            InMemoryHistory(),
            colour=False,
            given_input=pipe,
            given_output=DummyOutput(),
        )
    return b"".join(written).decode()


def test_lines_are_done_until_the_end_of_input() -> None:
    world = World(a=[1, 2])
    assert typed("incr k\rincr k\r\x04", world) == "(integer) 1\n(0.00 ms)\n(integer) 2\n(0.00 ms)\n"


def test_quit_leaves() -> None:
    world = World(a=[])
    typed("quit\rincr k\r", world)
    assert world.servers[A].asked == []


def test_control_c_drops_the_line() -> None:
    world = World(a=[1])
    typed("set k v\x03incr k\r\x04", world)
    assert world.servers[A].asked == [b"incr k"]


def test_completions_take_the_place_of_the_word_before_the_cursor() -> None:
    completer = CommandCompleter(TABLE)
    [found] = completer.get_completions(Document("help inc", 8), CompleteEvent())
    assert (found.text, found.start_position, found.display_meta_text) == ("incr", -3, "Add one")
    assert list(completer.get_completions(Document("inc k", 5), CompleteEvent())) == []


def test_text_that_is_not_ascii() -> None:
    world = World(a=[1])
    typed("incr Schlüssel\r\x04", world)
    assert world.servers[A].asked == ["incr Schlüssel".encode()]


def test_the_history_is_private_and_keeps_no_passwords(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = history_of(path)
    for line in ("get k", "AUTH secret", "hello 3 auth ann secret", "set k v"):
        history.append_string(line)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "secret" not in path.read_text()
    assert list(history_of(path).load_history_strings()) == ["set k v", "get k"]


def test_a_history_that_cannot_be_kept_is_kept_in_memory(tmp_path: Path) -> None:
    assert isinstance(history_of(tmp_path), InMemoryHistory)
    path = tmp_path / "history"
    history = history_of(path)
    path.unlink()
    path.mkdir()
    history.append_string("get k")
    assert list(history.load_history_strings()) == []


def test_where_the_history_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TWISTEDKV_HISTORY", raising=False)
    assert history_path() == tmp_path / ".twistedkv_history"
    monkeypatch.setenv("TWISTEDKV_HISTORY", str(tmp_path / "other"))
    assert history_path() == tmp_path / "other"


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, " help, Tab, Ctrl-D"),
        (Help("GET", "key", "The value of a key"), " GET key  The value of a key"),
        (Help("GET", "key", "The value of a key, as it is"), " GET key\n The value of a key, as it is"),
        (
            Help("SET", "key value [NX | XX] [EX seconds | KEEPTTL]", "Store"),
            " SET key value [NX | XX] [EX\n seconds | KEEPTTL]  Store",
        ),
    ],
)
def test_the_help_line_takes_the_lines_that_it_needs(found: Help | None, text: str) -> None:
    assert fragment_list_to_text(toolbar_of(found, 30)) == text
