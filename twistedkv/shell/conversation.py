"""What one line does: the shell's own words, and everything else for the cluster. It knows no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from twistedkv.errors import CommandError, NotDone, OutcomeUnknown
from twistedkv.resp.answers import Answer, ErrorAnswer
from twistedkv.resp.inline import split_line
from twistedkv.shell.completion import LOCAL, Described, Table, find
from twistedkv.shell.rendering import is_text, painted, plain, raw_of, text_of
from twistedkv.shell.session import LineSession

_QUIT = {"quit", "exit"}
_SLOW_SECONDS = 0.5
"""With timing off, a command that took longer than this is timed nevertheless."""


class Conversation:
    """Lines in, texts out. With `raw`, values are written as they are."""

    def __init__(
        self,
        session: LineSession,
        table: Table,
        *,
        write: Callable[[bytes], None],
        monotonic: Callable[[], float],
        raw: bool = False,
        colour: bool = False,
    ) -> None:
        self.session = session
        self._table = table
        self._write = write
        self._monotonic = monotonic
        self._raw = raw
        self._colour = colour
        self._timing = True

    def line(self, line: bytes) -> bool:
        """Do what a line says, and write what came of it; False when the user wants to leave."""
        try:
            words = split_line(line)
        except CommandError as error:
            self._error(str(error))
            return True
        if not words:
            return True
        name = words[0].decode("utf-8", "replace").lower()
        if name in _QUIT:
            return False
        if name == "help":
            self._text(help_text(self._table, words[1:]))
        elif name == "timing":
            self._set_timing(words[1:])
        else:
            started = self._monotonic()
            try:
                answer = self.session.run(words)
            except (NotDone, OutcomeUnknown) as error:
                self._error(str(error))
            else:
                self.show(words, answer)
                self._time(self._monotonic() - started)
        return True

    def show(self, words: list[bytes], answer: Answer) -> None:
        """Write an answer."""
        if self._raw:
            self._write(raw_of(answer))
        else:
            self._text(text_of(answer, is_text(words), self._colour))

    def remark(self, text: str) -> None:
        """Write what the shell itself has to say."""
        self._text(self._painted("remark", text) + "\n")

    def prompt(self) -> str:
        """What stands before the next line."""
        where = self.session.address or "not connected"
        return f"{where}(tx)> " if self.session.in_transaction else f"{where}> "

    def _set_timing(self, words: list[bytes]) -> None:
        wanted = words[0].lower() if words else b"off" if self._timing else b"on"
        if wanted not in (b"on", b"off"):
            self._error(f"timing {LOCAL['timing'][0]}")
            return
        self._timing = wanted == b"on"
        self.remark(f"timing is {wanted.decode()}")

    def _time(self, seconds: float) -> None:
        if self._timing or seconds > _SLOW_SECONDS:
            text = f"({seconds:.2f} s)" if seconds >= 1 else f"({seconds * 1000:.2f} ms)"
            self._text(self._painted("nil", text) + "\n")

    def _error(self, text: str) -> None:
        self._text(self._painted("error", text) + "\n")

    def _painted(self, kind: str, text: str) -> str:
        return painted(kind, text) if self._colour else text

    def _text(self, text: str) -> None:
        self._write(text.encode("utf-8", "backslashreplace"))


def answer_all(
    session: LineSession,
    lines: Iterable[tuple[int, bytes]],
    show: Callable[[list[bytes], Answer], None],
    say: Callable[[str], None],
) -> Exception | ErrorAnswer | None:
    """Ask what the lines of a file say, each with its number, and show the answers.

    Returns the worst that came of them: an unknown outcome before one that was not done, before an error; None when
    all went well. Ends at a `quit`, and early, with a remark, when no server can be reached any more.
    """
    worst: Exception | ErrorAnswer | None = None
    for number, line in lines:
        try:
            words = split_line(line)
        except CommandError as error:
            show([b""], ErrorAnswer(str(error).encode()))
            worst = worst or ErrorAnswer(str(error).encode())
            continue
        if not words:
            continue
        if words[0].lower() in (b"quit", b"exit"):
            break
        try:
            answer = session.run(words)
        except OutcomeUnknown as error:
            say(f"line {number}: {error}")
            worst = error
            continue
        except NotDone as error:
            say(f"line {number}: {error}")
            worst = worst if isinstance(worst, OutcomeUnknown) else error
            if not session.address:
                say("the lines behind it were not executed")
                break
            continue
        show(words, answer)
        failure = failure_of(answer)
        worst = failure if isinstance(failure, OutcomeUnknown) else worst or failure
    return worst


def failure_of(answer: Answer) -> OutcomeUnknown | ErrorAnswer | None:
    """What an answer says that went wrong. One that begins with UNKNOWN says that nobody knows."""
    if not isinstance(answer, ErrorAnswer):
        return None
    return OutcomeUnknown(plain(answer.text)) if answer.kind == b"UNKNOWN" else answer


def help_text(table: Table, words: list[bytes]) -> str:
    """What `help` prints about a command, or about all of them."""
    if not words:
        return _overview(table)
    name = words[0].decode("utf-8", "replace").lower()
    if name in LOCAL:
        return f"{name} {LOCAL[name][0]}".rstrip() + f"\n  {LOCAL[name][1]}\n"
    found = find(table, words)
    if found is None:
        return f"There is no command {words[0].upper().decode('utf-8', 'replace')!r}. `help` lists them all.\n"
    title, command = found
    text = f"{title} {command.arguments}".rstrip() + f"\n  {command.summary}\n"
    return text + "".join(f"  {_signature(title, sub, each)}\n" for sub, each in sorted(command.subcommands.items()))


def _signature(title: str, name: bytes, command: Described) -> str:
    return f"{title} {name.decode()} {command.arguments}".rstrip() + f": {command.summary}"


def _overview(table: Table) -> str:
    groups: dict[str, list[str]] = {}
    for name in sorted(table):
        groups.setdefault(table[name].group or "commands", []).append(name.decode())
    formatter = click.HelpFormatter(width=100)
    for group in sorted(groups):
        with formatter.section(group):
            formatter.write_text(" ".join(groups[group]))
    with formatter.section("of the shell"):
        formatter.write_dl([(f"{name} {arguments}".rstrip(), summary) for name, (arguments, summary) in LOCAL.items()])
    return (
        formatter.getvalue().lstrip() + "\nTab completes; the last line of the screen explains what is being typed.\n"
    )
