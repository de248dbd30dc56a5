"""What a line does."""

from __future__ import annotations

import pytest

from tests.shell.fakes import TABLE, A, Script, Silence, World
from twistedkv.errors import CommandError, NotDone, OutcomeUnknown
from twistedkv.resp.answers import Answer, ErrorAnswer, StatusText
from twistedkv.resp.inline import UNBALANCED_QUOTES
from twistedkv.shell.conversation import Conversation, answer_all, help_text
from twistedkv.shell.link import LinkLost

OK = StatusText(b"OK")


class Talk:
    """A conversation with one server that follows a script."""

    def __init__(self, script: Script, raw: bool = False, colour: bool = False) -> None:
        self.world = World(a=script)
        self.written: list[bytes] = []
        self.conversation = Conversation(
            self.world.session(),
            TABLE,
            write=self.written.append,
            monotonic=lambda: self.world.now,
            raw=raw,
            colour=colour,
        )

    def lines(self, *lines: bytes) -> str:
        """What was written after these lines, none of which may leave."""
        for line in lines:
            assert self.conversation.line(line)
        written = b"".join(self.written).decode()
        self.written.clear()
        return written


def test_a_command_its_answer_and_its_time() -> None:
    assert Talk([Silence(0.25), b"v"]).lines(b'get "k"') == '"v"\n(250.00 ms)\n'
    assert Talk([Silence(1.5), b"v"]).lines(b"get k") == '"v"\n(1.50 s)\n'


def test_timing_can_be_turned_off_except_for_what_is_slow() -> None:
    talk = Talk([1, 2, Silence(0.75), 3, 4])
    assert talk.lines(b"timing", b"incr k") == "timing is off\n(integer) 1\n"
    assert talk.lines(b"timing off", b"incr k") == "timing is off\n(integer) 2\n"
    assert talk.lines(b"incr k") == "(integer) 3\n(750.00 ms)\n"
    assert talk.lines(b"TIMING", b"incr k") == "timing is on\n(integer) 4\n(0.00 ms)\n"
    assert talk.lines(b"timing maybe") == "timing [on | off]\n"


def test_raw() -> None:
    assert Talk([[b"a", None, 1]], raw=True).lines(b"timing off", b"mget a b c") == "timing is off\na\n\n1\n"


def test_a_text_for_people_is_not_quoted() -> None:
    assert Talk([b"# Server\r\nversion:1\r\n"]).lines(b"timing off", b"info").endswith("# Server\nversion:1\n")


def test_failures_are_written_and_the_conversation_goes_on() -> None:
    talk = Talk([LinkLost("reset"), 1])
    assert "executed once or not at all" in talk.lines(b"incr k")
    assert talk.lines(b"incr k").startswith("(integer) 1\n")
    assert talk.lines(b"monitor").startswith("this command has answers without end")


def test_colour() -> None:
    assert (
        Talk([ErrorAnswer(b"ERR")], colour=True).lines(b"x").startswith("\x1b[31m(error) ERR\x1b[0m\n\x1b[2m(0.00 ms)")
    )


def test_empty_lines_and_open_quotes() -> None:
    talk = Talk([])
    assert talk.lines(b"", b"   ") == ""
    assert talk.lines(b'get "k') == UNBALANCED_QUOTES + "\n"


@pytest.mark.parametrize("word", [b"quit", b"QUIT", b"exit"])
def test_leaving(word: bytes) -> None:
    talk = Talk([])
    assert not talk.conversation.line(word)
    assert talk.world.servers[A].asked == []


def test_the_prompt_says_where_one_is() -> None:
    talk = Talk([OK, LinkLost("reset")])
    assert talk.conversation.prompt() == f"{A}> "
    talk.lines(b"multi")
    assert talk.conversation.prompt() == f"{A}(tx)> "
    talk.lines(b"get k")
    assert talk.conversation.prompt() == "not connected> "


def test_help() -> None:
    assert help_text(TABLE, [b"incr"]) == "INCR key\n  Add one\n"
    assert help_text(TABLE, [b"client", b"getname"]) == "CLIENT GETNAME\n  The name of this connection\n"
    assert help_text(TABLE, [b"client"]) == (
        "CLIENT\n  About connections\n  CLIENT GETNAME: The name of this connection\n"
        "  CLIENT SETINFO LIB-NAME name | LIB-VER version: Say which library this is\n"
    )
    assert help_text(TABLE, [b"timing"]).startswith("timing [on | off]\n")
    assert "no command 'FROB'" in help_text(TABLE, [b"frob"])
    overview = Talk([]).lines(b"help")
    for word in ("connection:", "CLIENT", "generic:", "COPY", "string:", "GET INCR SET", "timing [on | off]"):
        assert word in overview


# Commands from a file.


def run_all(script: Script, *lines: bytes) -> tuple[Exception | ErrorAnswer | None, list[Answer], list[str], World]:
    world = World(a=script)
    shown: list[Answer] = []
    said: list[str] = []
    worst = answer_all(world.session(), enumerate(lines, 1), lambda words, answer: shown.append(answer), said.append)
    return worst, shown, said, world


def test_each_line_is_answered_until_quit() -> None:
    worst, shown, said, world = run_all([OK, b"v"], b'set "k" v\n', b"\n", b"get k\r\n", b"quit\n", b"set k w\n")
    assert (worst, shown, said) == (None, [OK, b"v"], [])
    assert world.servers[A].asked == [b"set k v", b"get k"]


def test_an_error_is_remembered_and_does_not_end_it() -> None:
    error = ErrorAnswer(b"ERR no")
    worst, shown, _, _ = run_all([error, OK], b"frob\n", b"set k v\n")
    assert (worst, shown) == (error, [error, OK])


def test_open_quotes_are_an_error() -> None:
    worst, shown, _, _ = run_all([OK], b'get "k\n', b"set k v\n")
    assert worst == ErrorAnswer(UNBALANCED_QUOTES.encode())
    assert shown == [worst, OK]
    assert str(CommandError(UNBALANCED_QUOTES)) == UNBALANCED_QUOTES


def test_an_unknown_outcome_is_the_worst_and_does_not_end_it() -> None:
    worst, shown, said, _ = run_all([ErrorAnswer(b"ERR"), LinkLost("reset"), OK], b"frob\n", b"incr k\n", b"set k v\n")
    assert isinstance(worst, OutcomeUnknown)
    assert shown == [ErrorAnswer(b"ERR"), OK]
    assert said[0].startswith("line 2: ")


def test_it_ends_when_no_server_can_be_reached() -> None:
    worst, shown, said, world = run_all(lambda words: LinkLost("reset"), b"get k\n", b"set k v\n")
    assert isinstance(worst, NotDone)
    assert shown == []
    assert said[-1] == "the lines behind it were not executed"
    assert b"set k v" not in world.servers[A].asked


def test_a_command_that_is_refused_here_does_not_end_it() -> None:
    worst, shown, _, _ = run_all([OK], b"monitor\n", b"set k v\n")
    assert isinstance(worst, NotDone)
    assert shown == [OK]
