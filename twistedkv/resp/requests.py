"""Requests of RESP: bytes in, commands out, each a list of its arguments.

Two forms stand beside each other on one connection: arrays of strings, which programs send, and lines, which people
type (`inline.split_line`). A whole read is split at its line ends in one call, and its pieces are then taken as they
come; that a value has line ends in it shows in its length. Nothing that was looked at is looked at again: of a command
that is not complete the arguments are kept, and an argument that is not complete is waited for by its length.

What cannot be a request ends the stream: `failed` is then the error to send before the connection is closed. It comes
after the commands before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

from twistedkv.errors import CommandError
from twistedkv.limits import ARGUMENTS_MAX, INLINE_BYTES_MAX, REQUEST_BYTES_MAX, VALUE_BYTES_MAX
from twistedkv.resp.inline import split_line

_CRLF = b"\r\n"
_COUNTS = {b"*%d" % count: count for count in range(1, 130)}
_SIZES = {b"$%d" % size: size for size in range(1100)}
"""What nearly every request has, so that it need not be read as a number."""
_DIGITS_MAX = 10
_ALIKE_MIN = 4
"""So many like commands in a row are taken together."""
_ALIKE_MAX = 1000
_ALIKE_ARGUMENTS_MAX = 8
_ONE_LINES_MAX = 2 * _ALIKE_ARGUMENTS_MAX + 2
_INVALID_SIZE = "ERR Protocol error: invalid bulk length"
_HTTP = b" HTTP/1."
_TLS = b"\x16"
"""The first byte of every hello."""
_UNSAFE = (b"POST", b"HOST:")
"""What a browser can be made to send here, by a page that means us harm."""


class Run:
    """Commands in a row that differ in their arguments only. Each place of an argument is a column of all of them."""

    __slots__ = ("columns", "name")

    def __init__(self, name: bytes, columns: list[list[bytes]]) -> None:
        self.name = name
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    def commands(self) -> list[list[bytes]]:
        """One by one."""
        return list(map(list, zip(repeat(self.name), *self.columns)))


Request = list[bytes] | Run


def commands_of(requests: Iterable[Request]) -> list[list[bytes]]:
    """All commands, one by one."""
    return [command for each in requests for command in (each.commands() if isinstance(each, Run) else [each])]


class RequestParser:
    """See the module."""

    def __init__(self) -> None:
        self.failed = ""
        """What is wrong with the stream, as an error's text; empty while nothing is. Feed it no more then."""
        self._chunks: list[bytes] = []
        self._held = 0
        """Bytes in `_chunks`."""
        self._need = 1
        """With fewer bytes than this in all, looking would be of no use."""
        self._arguments: list[bytes] = []
        self._left = 0
        """Arguments that the command still lacks; 0 between commands."""
        self._size = 0
        """Bytes of its arguments so far."""
        self._begun = False

    @property
    def partial(self) -> bool:
        """Whether the beginning of a request is held."""
        return bool(self._held or self._left)

    def feed(self, data: bytes) -> list[Request]:
        """The commands that this completes. Look at `failed` afterwards."""
        if self._begun and not (self._held or self._left):
            arguments = _one(data)
            if arguments:
                return [arguments]
        self._held += len(data)
        if self._held < self._need:
            self._chunks.append(data)
            return []
        if self._chunks:
            self._chunks.append(data)
            data = b"".join(self._chunks)
            self._chunks = []
        commands: list[Request] = []
        try:
            if not self._begun:
                self._begun = True
                if data[:1] == _TLS:
                    raise CommandError("ERR Protocol error: this port does not speak TLS")
            while data:
                if self._left or data[:1] == b"*":
                    data, complete = self._take_arrays(data, commands)
                else:
                    data, complete = self._take_lines(data, commands)
                if not complete:
                    break
        except CommandError as wrong:
            self.failed = str(wrong)
            data = b""
        self._held = len(data)
        if data:
            self._chunks.append(data)
        else:
            self._need = 1
        return commands

    def _take_lines(self, data: bytes, commands: list[Request]) -> tuple[bytes, bool]:
        """Take what people type, up to an array. What is left, and whether there may be more in it."""
        start = 0
        while start < len(data) and data[start : start + 1] != b"*":
            end = data.find(b"\n", start)
            if end < 0:
                if len(data) - start > INLINE_BYTES_MAX:
                    raise CommandError("ERR Protocol error: too big inline request")
                self._need = len(data) - start + 1
                return data[start:], False
            _take_line(data[start:end].removesuffix(b"\r"), commands)
            start = end + 1
        return data[start:], True

    def _take_arrays(self, data: bytes, commands: list[Request]) -> tuple[bytes, bool]:
        """Take what is ended by CRLF. What is left, and whether there may be more in it."""
        lines = data.split(_CRLF)
        last = len(lines) - 1  # this one is not ended yet
        at = 0
        while at < last:
            if not self._left:
                head = lines[at]
                count = _COUNTS.get(head)
                if count is None:
                    if head[:1] != b"*":
                        line, feed, rest = head.partition(b"\n")
                        _take_line(line, commands)
                        if feed:
                            lines[at] = rest
                        else:
                            at += 1
                        continue
                    count = _number(head[1:], ARGUMENTS_MAX, "invalid multibulk length")
                if 1 < count <= _ALIKE_ARGUMENTS_MAX:
                    alike = min((last - at) // (2 * count + 1), _ALIKE_MAX)
                    taken = 0 if alike < _ALIKE_MIN else _take_alike(lines, at, count, alike, commands)
                    taken = taken or _take_whole(lines, at, count, commands)
                    if taken:
                        at = taken
                        continue
                at += 1
                if count > 0:
                    self._left, self._arguments, self._size = count, [], 0
                continue
            arguments = self._arguments
            for left in range(self._left, 0, -1):
                if at >= last:
                    self._left = left
                    break
                head = lines[at]
                size = _SIZES.get(head)
                if size is None:
                    size = self._checked_size(head)
                if self._size + size > REQUEST_BYTES_MAX:
                    raise CommandError(_INVALID_SIZE)
                argument = lines[at + 1]
                step = 2
                if len(argument) < size:
                    argument, step = _joined(lines, at + 1, size)
                if len(argument) > size and (at + step <= last or len(argument) > size + 1):
                    raise CommandError(f"ERR Protocol error: the bulk string of {size} bytes is not ended by CRLF")
                if at + step > last:  # its end has not come
                    self._left = left
                    rest = _CRLF.join(lines[at:])
                    self._need = max(len(head) + size + 4, len(rest) + 1)
                    return rest, False
                self._size += size
                arguments.append(argument)
                at += step
            else:
                self._left = 0
                commands.append(arguments)
        rest = lines[last]
        if rest:
            _check_head(rest, b"$" if self._left else b"*")
        self._need = len(rest) + 1
        return rest, not self._left and rest[:1] not in (b"", b"*")

    def _checked_size(self, head: bytes) -> int:
        if head[:1] != b"$":
            raise _unexpected(head)
        size = _number(head[1:], VALUE_BYTES_MAX, "invalid bulk length")
        if size < 0:
            raise CommandError(_INVALID_SIZE)
        return size


def _one(data: bytes) -> list[bytes]:
    """The arguments of the command that this is, if it is one, whole, and nothing is special; else none.

    Most programs wait for each reply before they send the next command.
    """
    lines = data.split(_CRLF, _ONE_LINES_MAX)
    count = _COUNTS.get(lines[0], 0)
    if len(lines) != 2 * count + 2 or lines[-1]:
        return []
    arguments = lines[2::2]
    return arguments if list(map(len, arguments)) == list(map(_SIZES.get, lines[1:-1:2])) else []


def _take_whole(lines: list[bytes], at: int, count: int, commands: list[Request]) -> int:
    """Take the command at line `at`, if all of it is there and nothing is special. The line after it, or 0."""
    end = at + 2 * count + 1
    if end >= len(lines):
        return 0
    arguments = lines[at + 2 : end : 2]
    if list(map(len, arguments)) != list(map(_SIZES.get, lines[at + 1 : end : 2])):
        return 0
    commands.append(arguments)
    return end


def _take_alike(lines: list[bytes], at: int, count: int, many: int, commands: list[Request]) -> int:
    """Take `many` commands from line `at` on, if all have `count` arguments, and are as they should be.

    The line after them; 0 if they are not all like that. A burst of like commands is what
    programs send that have much to send, and this looks at a column of it at a time.
    """
    stride = 2 * count + 1
    end = at + many * stride
    if lines[at:end:stride].count(lines[at]) != many:
        return 0
    columns = []
    for place in range(at + 1, at + stride, 2):
        column = lines[place + 1 : end : stride]
        if list(map(len, column)) != list(map(_SIZES.get, lines[place:end:stride])):
            return 0
        columns.append(column)
    names = columns[0]
    if names.count(names[0]) == many:
        commands.append(Run(names[0], columns[1:]))
    else:
        commands += map(list, zip(*columns, strict=True))
    return end


def _take_line(line: bytes, commands: list[Request]) -> None:
    if len(line) > INLINE_BYTES_MAX:
        raise CommandError("ERR Protocol error: too big inline request")
    arguments = split_line(line)
    if arguments:
        if _HTTP in line or arguments[0].upper() in _UNSAFE:
            raise CommandError("ERR Protocol error: this port does not speak HTTP")
        commands.append(arguments)


def _joined(lines: list[bytes], at: int, size: int) -> tuple[bytes, int]:
    """A value with line ends in it, as far as it is there: itself, and the number of lines to its end with its head."""
    length = len(lines[at])
    end = at + 1
    while length < size and end < len(lines):
        length += 2 + len(lines[end])
        end += 1
    return _CRLF.join(lines[at:end]), end - at + 1


def _number(digits: bytes, most: int, wrong: str) -> int:
    """A count or a size, at most `most`; -1 for any negative one. Nothing but digits is a number."""
    plain = digits[1:] if digits[:1] == b"-" else digits
    if not plain.isdigit() or len(plain) > _DIGITS_MAX or (plain[:1] == b"0" and digits != b"0"):
        raise CommandError(f"ERR Protocol error: {wrong}")
    number = int(digits)
    if number > most:
        raise CommandError(f"ERR Protocol error: {wrong}")
    return max(number, -1)


def _check_head(rest: bytes, kind: bytes) -> None:
    """What has come of a head that is not ended yet."""
    if kind == b"$" and rest[:1] != b"$":
        raise _unexpected(rest)
    if len(rest) > INLINE_BYTES_MAX and rest[:1] in b"*$":
        raise CommandError(f"ERR Protocol error: too big {'bulk' if kind == b'$' else 'mbulk'} count string")


def _unexpected(head: bytes) -> CommandError:
    got = head[:1].replace(b"\r", b" ").decode("utf-8", "surrogateescape") or " "
    return CommandError(f"ERR Protocol error: expected '$', got '{got}'")
