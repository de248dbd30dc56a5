"""`twistedkv shell`, as it is used: with a command, with a pipe, on a terminal. The server is a small one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.shell.lineserver import LineServer, line_server
from twistedkv.cli import main, shell

SECONDS = 20.0
"""How long something may take to appear on the screen."""


@pytest.fixture
def server() -> Iterator[LineServer]:
    with line_server() as running:
        yield running


def run(server: LineServer, *arguments: str, lines: bytes = b"", deadline: str = "5") -> Result:
    return CliRunner().invoke(
        main, ["--deadline", deadline, "shell", "--line", server.address, *arguments], input=lines
    )


# With a command.


def test_a_command_is_executed_and_the_shell_ends(server: LineServer) -> None:
    result = run(server, "set", "k", "two words", "--raw")
    assert result.exit_code == 1  # an option behind the command is the command's
    assert result.stdout.startswith("ERR unknown command 'set'")
    assert run(server, "set", "k", "two words").stdout == "OK\n"
    result = run(server, "get", "k")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "two words\n", "")
    assert run(server, "-3", "ping").stdout == "PONG\n"
    assert b"HELLO 3" in server.asked


def test_an_unknown_outcome_has_its_exit_code(server: LineServer) -> None:
    result = run(server, "die")
    assert result.exit_code == 4
    assert "DIE was executed once or not at all" in result.stderr


@pytest.mark.parametrize("with_a_pipe", [False, True])
def test_an_answer_of_unknown_outcome_has_its_exit_code(server: LineServer, with_a_pipe: bool) -> None:
    server.failure = "UNKNOWN whether it was executed, once or not at all: the shard moved"
    result = run(server, lines=b"incr n\n") if with_a_pipe else run(server, "incr", "n")
    assert (result.exit_code, result.stdout) == (4, server.failure + "\n")


def test_a_deadline_ends_the_wait(server: LineServer) -> None:
    result = run(server, "silence", deadline="0.2")
    assert result.exit_code == 4
    assert "no answer within 0.2 s" in result.stderr


def test_no_server_is_one_sentence(server: LineServer) -> None:
    result = CliRunner().invoke(main, ["shell", "--line", "127.0.0.1:1", "ping"])
    assert result.exit_code == 3
    assert result.stderr == (
        "Error: cannot connect to 127.0.0.1:1 (connection refused): start a cluster with `make run`, or give --line\n"
    )


@pytest.mark.parametrize("address", ["localhost", ":7379", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:x", "a:1,b"])
def test_addresses_that_are_none(address: str) -> None:
    result = CliRunner().invoke(main, ["shell", "--line", address, "ping"])
    assert result.exit_code == 2
    assert "is not HOST:PORT" in result.stderr


def test_several_addresses_are_tried(server: LineServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CliRunner().invoke(main, ["shell", "--line", "127.0.0.1:1", "--line", server.address, "ping"]).exit_code == 0
    monkeypatch.setenv(shell.LINE_VARIABLE, f"127.0.0.1:1,{server.address}")
    assert CliRunner().invoke(main, ["shell", "ping"]).stdout == "PONG\n"


# With a pipe.


def test_commands_of_a_pipe(server: LineServer) -> None:
    result = run(server, lines=b'set "k" "a\\x00b"\r\n\nget k\nincr n\nget nothing')
    assert (result.exit_code, result.stdout_bytes, result.stderr) == (0, b"OK\na\x00b\n1\n\n", "")


def test_an_error_among_the_answers_is_exit_code_1(server: LineServer) -> None:
    result = run(server, lines=b'frob\nget "k\nset k v\n')
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "ERR unknown command 'frob', with args beginning with: ",
        "ERR Protocol error: unbalanced quotes in request",
        "OK",
    ]


def test_an_unknown_outcome_in_a_pipe_says_its_line(server: LineServer) -> None:
    result = run(server, lines=b"set k v\ndie\nget k\n")
    assert (result.exit_code, result.stdout) == (4, "OK\nv\n")
    assert "line 2: the connection to" in result.stderr


def test_redirects_in_a_pipe_are_followed_silently(server: LineServer) -> None:
    with line_server() as other:
        server.moved_to = other.address
        result = run(server, lines=b"set k v\nget k\n")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "OK\nv\n", "")
        assert other.data == {b"k": b"v"}


def test_a_line_without_end_is_refused(server: LineServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "_LINE_BYTES_MAX", 10)
    result = run(server, lines=b"ping\n" + b"x" * 100)
    assert (result.exit_code, result.stdout) == (2, "PONG\n")
    assert "line 2: a line has at most 10 bytes" in result.stderr


# On a terminal.

_STEAL_TERMINAL = (
    "import fcntl, os, signal, sys, termios\n"
    "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
    "os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Ctrl-C reaches the program only if the terminal is its own, and if the signal is not ignored, as it is when the tests
run in the background of a shell."""


class Screen:
    """The program on a terminal of its own. All that it has written is kept."""

    def __init__(self, history: Path, *arguments: str) -> None:
        self.text = ""
        """Without colours and movements of the cursor."""
        self.bytes = b""
        self._looked = 0
        self._end, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        program = [sys.executable, "-c", "from twistedkv.cli import main; main()", "shell", *arguments]
        environment = {**os.environ, "TERM": "xterm-256color", "TWISTEDKV_HISTORY": str(history)}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _STEAL_TERMINAL, *program],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
        )
        os.close(theirs)

    def type(self, keys: str) -> None:
        """Type, after all that was waited for."""
        self._looked = len(self.text)
        os.write(self._end, keys.encode())

    def wait_for(self, expected: str) -> None:
        """Wait until something is written that was not there when the last keys were typed."""
        until = time.monotonic() + SECONDS
        while expected not in self.text[self._looked :]:
            assert time.monotonic() < until, f"{expected!r} has not come: {self.text[self._looked :]!r}"
            self._read(0.1)

    def ends(self) -> int:
        """Wait for the end; the exit code."""
        until = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < until
            self._read(0.05)
        return self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)

    def _read(self, seconds: float) -> None:
        if not select.select([self._end], [], [], seconds)[0]:
            return
        try:
            data = os.read(self._end, 65536)
        except OSError:  # the program has ended
            return
        for _ in range(data.count(b"\x1b[6n")):
            os.write(self._end, b"\x1b[1;1R")  # the editor asks where the cursor is
        self.bytes += data
        self.text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.bytes.decode("utf-8", "replace"))


@pytest.fixture
def screen(server: LineServer, tmp_path: Path) -> Iterator[Screen]:
    shown = Screen(tmp_path / "history", "--line", server.address)
    yield shown
    shown.close()


def test_a_talk_on_a_terminal(server: LineServer, screen: Screen, tmp_path: Path) -> None:
    prompt = f"{server.address}>"
    screen.wait_for(prompt)
    screen.type("set ")
    screen.wait_for("condition")  # the help line: "Store a value, on a condition ..."
    screen.type('k "two words"\r')
    screen.wait_for("OK\r\n(")
    screen.wait_for(prompt)
    screen.type("get k\r")
    screen.wait_for('"two words"')
    assert b'\x1b[32m"two words"' in screen.bytes
    screen.wait_for(prompt)
    screen.type("append\r")
    screen.wait_for("(error) ERR unknown command 'append'")
    screen.wait_for(prompt)
    screen.type("silence\r")
    screen.wait_for("no answer from")
    screen.type("\x03")
    screen.wait_for("SILENCE was executed once or not at all")
    screen.wait_for("not connected>")
    screen.type("inc\t")
    screen.wait_for("INCR")  # the help line of the completed command
    screen.type(" n\r")
    screen.wait_for("connected to")
    screen.wait_for("(integer) 1")
    screen.wait_for(prompt)
    screen.type("\x04")
    assert screen.ends() == 0
    assert (tmp_path / "history").read_text().count("\n+") == 5
    assert server.data == {b"k": b"two words", b"n": b"1"}


def test_a_redirect_on_a_terminal_is_mentioned(server: LineServer, screen: Screen) -> None:
    with line_server() as other:
        server.moved_to = other.address
        screen.wait_for(f"{server.address}>")
        screen.type("incr n\r")
        screen.wait_for(f"-> slot 866 is at {other.address}")
        screen.wait_for("(integer) 1")
        screen.wait_for(f"{other.address}>")
        screen.type("quit\r")
        assert screen.ends() == 0
