"""The command that talks to the line port."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import click

from twistedkv.cli.lines import LineError, numbered_lines
from twistedkv.cli.output import is_terminal, message, write_bytes
from twistedkv.cli.session import NEGATIVE, InputFailure, NotDoneFailure, Session, exit_code_of, pass_session
from twistedkv.errors import NotDone
from twistedkv.limits import REQUEST_BYTES_MAX
from twistedkv.resp.answers import Answer, ErrorAnswer
from twistedkv.shell.completion import Table, only_reads
from twistedkv.shell.conversation import Conversation, answer_all, failure_of
from twistedkv.shell.link import dial
from twistedkv.shell.rendering import is_text, painted, raw_of, text_of
from twistedkv.shell.session import PATIENCE_SECONDS, LineSession

LINE_DEFAULT = "127.0.0.1:7379"
LINE_VARIABLE = "TWISTEDKV_LINE"
_LINE_BYTES_MAX = 4 * REQUEST_BYTES_MAX  # every byte of a value may be written as \xHH


@click.command("shell", context_settings={"allow_interspersed_args": False})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [ARGUMENT]...]")
@click.option(
    "--line",
    "lines",
    multiple=True,
    metavar="HOST:PORT",
    envvar=LINE_VARIABLE,
    help=f"The line port of a server (default ${LINE_VARIABLE}, else {LINE_DEFAULT}); several are tried in turn.",
)
@click.option("-3", "resp3", is_flag=True, help="Speak RESP3.")
@click.option("--raw", is_flag=True, help="Print values as they are, as without a terminal.")
@click.option("--no-color", is_flag=True, help="Print without colours (so does a variable NO_COLOR).")
@pass_session
def shell_command(
    session: Session, *, words: tuple[str, ...], lines: tuple[str, ...], resp3: bool, raw: bool, no_color: bool
) -> None:
    """Talk to the line port, a line at a time.

    With a COMMAND, execute it and end. Without one, read commands from the terminal, with history and completion, or
    one a line from a pipe. Redirects are followed, and a failover is waited for; a write is never sent twice. Exit code
    1 if an answer was an error.

    \b
    Example:
      twistedkv shell
      twistedkv shell set greeting "hello world" ex 60
      twistedkv shell --line 127.0.0.1:7380 --line 127.0.0.1:7381 < commands.txt
    """
    from twistedkv.commands.table import COMMANDS

    table: Table = {name: command for name, command in COMMANDS.items() if "internal" not in command.flags}
    addresses = [_address(text) for line in lines or (LINE_DEFAULT,) for text in line.split(",")]
    raw = raw or not is_terminal()
    colour = not (raw or no_color or os.environ.get("NO_COLOR"))
    interactive = not words and is_terminal(sys.stdin) and is_terminal()

    def say(text: str) -> None:
        message(painted("remark", text) if colour else text)

    line_session = LineSession(
        addresses,
        dial=dial,
        say=say,
        say_redirect=say if interactive else _say_nothing,  # a file of commands has a redirect at every other line
        monotonic=time.monotonic,
        sleep=time.sleep,
        may_repeat=lambda command: only_reads(table, command),
        protocol=3 if resp3 else 2,
        patience_seconds=PATIENCE_SECONDS if session.deadline is None else session.deadline,
        answer_seconds=session.deadline,
    )
    try:
        try:
            line_session.connect()
        except NotDone as error:
            raise NotDoneFailure(f"{error}: start a cluster with `make run`, or give --line") from None
        if interactive:
            _talk(line_session, table, raw, colour)
        else:
            _answer(line_session, words, lambda command, answer: _print(command, answer, raw, colour))
    finally:
        line_session.close()


def _talk(session: LineSession, table: Table, raw: bool, colour: bool) -> None:
    from twistedkv.shell.terminal import converse, history_of, history_path

    conversation = Conversation(session, table, write=write_bytes, monotonic=time.monotonic, raw=raw, colour=colour)
    converse(conversation, table, history_of(history_path()), colour=colour)


def _answer(session: LineSession, words: tuple[str, ...], show: Callable[[list[bytes], Answer], None]) -> None:
    """Execute one command, or those of standard input. Ends the program with their exit code."""
    if words:
        command = [os.fsencode(word) for word in words]
        answer = session.run(command)
        show(command, answer)
        worst: Exception | ErrorAnswer | None = failure_of(answer)
    else:
        try:
            worst = answer_all(session, numbered_lines(sys.stdin.buffer, _LINE_BYTES_MAX), show, message)
        except LineError as error:
            raise InputFailure(str(error)) from None
    if worst is not None:
        sys.exit(NEGATIVE if isinstance(worst, ErrorAnswer) else exit_code_of(worst))


def _print(words: list[bytes], answer: Answer, raw: bool, colour: bool) -> None:
    write_bytes(raw_of(answer) if raw else text_of(answer, is_text(words), colour).encode("utf-8", "backslashreplace"))


def _say_nothing(text: str) -> None:
    return


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise click.BadParameter(f"{text!r} is not HOST:PORT, for example {LINE_DEFAULT}.", param_hint="'--line'")
    return text
