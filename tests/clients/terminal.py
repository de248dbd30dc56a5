"""A program that talks to a person: run on a terminal, or on pipes, and asked line by line."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType

PATIENCE_SECONDS = 30.0


class Terminal:
    """A program on a terminal of its own, which cannot move the cursor."""

    def __init__(self, command: Sequence[str]) -> None:
        self._end, other = pty.openpty()
        self._process = subprocess.Popen(
            command, stdin=other, stdout=other, stderr=other, env=os.environ | {"TERM": "dumb"}, start_new_session=True
        )
        os.close(other)
        self._heard = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._end)

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._end, line.encode() + b"\n")

    def until(self, text: str) -> str:
        """What is shown up to this text. AssertionError if it does not come."""
        wanted = text.encode()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while wanted not in self._heard:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self._end], [], [], left)[0]
            try:
                chunk = os.read(self._end, 65536) if ready else b""
            except OSError:  # the program has ended
                chunk = b""
            assert chunk, f"{text!r} does not come after {self._heard[-2000:]!r}"
            self._heard += chunk
        shown, _, self._heard = self._heard.partition(wanted)
        return shown.decode("utf-8", "replace").replace("\r\n", "\n")


class Pipe:
    """A program that reads lines, and answers each with at least one. Errors are lines, too."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )

    def __enter__(self) -> Pipe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def ask(self, line: str) -> list[str]:
        """The lines of the answer: one, if that is a number, else all that come together."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line.encode() + b"\n")
        heard = b""
        wait = PATIENCE_SECONDS
        while select.select([self._process.stdout], [], [], wait)[0]:
            chunk = os.read(self._process.stdout.fileno(), 65536)
            assert chunk, f"the program has ended, after {heard!r}"
            heard += chunk
            if heard.endswith(b"\n"):
                if heard.strip().isdigit():
                    break
                wait = 0.05
        assert heard, f"no answer to {line!r}"
        return heard.decode("utf-8", "replace").splitlines()
