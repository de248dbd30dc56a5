"""The shell on a terminal: the line editor with its history, completion and help line."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import ColorDepth, Output

from twistedkv.shell.completion import Help, Table, candidates, help_line
from twistedkv.shell.conversation import Conversation

HISTORY_VARIABLE = "TWISTEDKV_HISTORY"
HISTORY_DEFAULT = "~/.twistedkv_history"


class PrivateHistory(FileHistory):
    """Lines in a file that only its owner can read. Lines with passwords are not written."""

    def store_string(self, string: str) -> None:
        """Write a line, unless it tells a password or the file cannot be written."""
        words = string.upper().split()
        if words[:1] == ["AUTH"] or (words[:1] == ["HELLO"] and "AUTH" in words):
            return
        try:
            super().store_string(string)
        except OSError:
            return  # a full disk is no reason to lose the shell

    def load_history_strings(self) -> Iterable[str]:
        """The lines, newest first; none if the file cannot be read."""
        try:
            yield from super().load_history_strings()
        except OSError:
            return


class CommandCompleter(Completer):
    """Completes from the table of commands."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """What may stand at the cursor."""
        for text, replaced, remark in candidates(self._table, document.current_line_before_cursor):
            yield Completion(text, start_position=-replaced, display_meta=remark)


def history_of(path: Path) -> History:
    """The history in a file, which is made if need be; in memory if that is not possible."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError:
        return InMemoryHistory()
    return PrivateHistory(str(path))


def history_path() -> Path:
    """$TWISTEDKV_HISTORY, or a file in the home directory."""
    return Path(os.environ.get(HISTORY_VARIABLE) or HISTORY_DEFAULT).expanduser()


def toolbar_of(found: Help | None, columns: int) -> StyleAndTextTuples:
    """The help line of a screen so wide: as many lines as the arguments need, and the summary behind or below them."""
    if found is None:
        return [("", " help, Tab, Ctrl-D")]
    syntax = textwrap.wrap(f"{found.name} {found.arguments}", max(columns - 2, 20), break_on_hyphens=False)
    rest = "\n ".join(syntax)[len(found.name) :]
    gap = "  " if len(syntax[-1]) + len(found.summary) + 3 < columns else "\n "
    return [("bold", f" {found.name}"), ("", rest + gap), ("italic", found.summary)]


def converse(
    conversation: Conversation,
    table: Table,
    history: History,
    *,
    colour: bool,
    given_input: Input | None = None,
    given_output: Output | None = None,
) -> None:
    """Read lines and do what they say, until the user leaves. Ctrl-C drops a line, Ctrl-D leaves."""
    prompt: PromptSession[str] = PromptSession(
        history=history,
        completer=CommandCompleter(table),
        complete_while_typing=False,
        enable_history_search=True,
        color_depth=None if colour else ColorDepth.DEPTH_1_BIT,
        input=given_input,
        output=given_output,
    )

    def toolbar() -> StyleAndTextTuples:
        found = help_line(table, prompt.default_buffer.document.current_line_before_cursor)
        return toolbar_of(found, prompt.output.get_size().columns)

    while True:
        try:
            line = prompt.prompt(conversation.prompt, bottom_toolbar=toolbar)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        try:
            if not conversation.line(line.encode("utf-8", "surrogateescape")):
                return
        except KeyboardInterrupt:  # between the end of a command and the next prompt
            continue
