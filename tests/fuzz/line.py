"""What comes to the line port and the course port: requests, commands, replies."""

from __future__ import annotations

import itertools

from tests.support.keyspace import DictKeyspace
from twistedkv.commands.execution import execute
from twistedkv.commands.introspection import command_reply
from twistedkv.commands.table import check_keys, keys_of, lookup
from twistedkv.errors import CommandError, ProtocolError
from twistedkv.limits import KEY_BYTES_MAX
from twistedkv.resp import replies
from twistedkv.resp.answers import Answer, AnswerDecoder, split
from twistedkv.resp.inline import split_line
from twistedkv.resp.requests import RequestParser, commands_of
from twistedkv.service.course import Request, take_request

WORDS = (
    b"*3\r\n",
    b"$3\r\n",
    b"$-1\r\n",
    b"\r\n",
    b"*2\r\n$3\r\nGET\r\n",
    b"PX",
    b"MATCH",
    b"COUNT",
    b"EXAT",
    b"-0",
    b"+1",
)


def pieces_of(data: bytes) -> list[bytes]:
    """The data in pieces of 1, 2, 3 ... bytes."""
    pieces = []
    start = 0
    for size in itertools.count(1):
        if start >= len(data):
            return pieces
        pieces.append(data[start : start + size])
        start += size
    return pieces


def parsed(pieces: list[bytes]) -> tuple[list[list[bytes]], str]:
    """The commands, and the error that has ended the stream."""
    parser = RequestParser()
    commands: list[list[bytes]] = []
    for piece in pieces:
        if parser.failed:
            break
        commands += commands_of(parser.feed(piece))
    return commands, parser.failed


def check_requests(data: bytes) -> None:
    """However the stream is cut, the same commands come of it, and an array of each is read as that command."""
    commands, failed = parsed([data])
    assert parsed(pieces_of(data)) == (commands, failed)
    again = b"".join(replies.bulks(command) for command in commands)
    assert parsed([again]) == (commands, "")


def requests_seeds() -> list[bytes]:
    """Arrays, lines, and both."""
    return [
        b"PING\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b'SET k "a\\x00b"\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n',
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\n\r\n\r\n\r\n*0\r\nget 'k'\r\n",
        b"*1\r\n$-1\r\n",
        b"*-1\r\n",
        b"GET / HTTP/1.1\r\n",
        b"".join(replies.bulks([b"SET", key, b"v"]) for key in (b"a", b"", b"\r\n", b"c", b"a", b"b", b"c", b"d")),
        b"".join(replies.bulks([b"GET", key]) for key in (b"a", b"b", b"c", b"d")) + b"*2\r\n$3\r\nGET",
    ]


def check_inline(data: bytes) -> None:
    """A line is words, or has quotes that do not match; words in quotes are the same words."""
    try:
        words = split_line(data)
    except CommandError:
        return
    quoted = b" ".join(b'"' + b"".join(b"\\x%02x" % byte for byte in word) + b'"' for word in words)
    assert split_line(quoted) == words


def inline_seeds() -> list[bytes]:
    """Words with and without quotes."""
    return [b"set k v", b"set \"a b\" 'c d'", b'"\\x41\\n" x', b"'\\''", b'a"b" c', b"", b'"', b"a\0b"]


def check_commands(data: bytes) -> None:
    """Whatever the commands are, each has one reply, and the keys that it is said to have are arguments of it."""
    keyspace = DictKeyspace()
    keyspace.put(b"k", b"10")
    keyspace.put(b"t", b"text", keyspace.now + 1000)
    for command in parsed([data])[0]:
        try:
            found = lookup(command)
            check_keys(found, command)
        except CommandError:
            found = None
        else:
            assert all(key in command and 0 < len(key) <= KEY_BYTES_MAX for key in keys_of(found, command))
        for protocol in (2, 3):
            if found is not None and found.name.startswith(b"command"):
                try:
                    reply = command_reply(command, protocol)
                except CommandError as wrong:
                    reply = replies.error(str(wrong))
            else:
                reply = execute(keyspace, command, protocol)
            assert split(reply, 1) == [len(reply)]
            assert len(AnswerDecoder().feed(reply)) == 1


def commands_seeds() -> list[bytes]:
    """Some of each group."""
    lines = [
        b"set k v px 100 nx get",
        b"mset a 1 b 2",
        b"getrange t 0 -1",
        b"setrange t 3 xyz",
        b"incrbyfloat k 1.5e3",
        b"scan 0 match a*[b-c]?\\* count 5 type string",
        b"keys *",
        b"expire k 10 gt",
        b"getex k persist",
        b"copy k b replace",
        b"rename t k",
        b"lcs k t idx withmatchlen",
        b"object encoding k",
        b"command info get set",
        b"command getkeys mset a b c d",
        b"cas k 1 v",
        b"v k 10",
        b"cluster countkeysinslot 0",
        b"memory usage k samples 5",
        b"flushslots 0",
    ]
    return [line + b"\r\n" for line in lines]


def check_replies(data: bytes) -> None:
    """However the stream is cut, the same replies come of it; where they end is found without building them."""

    def decoded(pieces: list[bytes]) -> tuple[list[Answer], bool]:
        decoder = AnswerDecoder()
        found: list[Answer] = []
        try:
            for piece in pieces:
                found += decoder.feed(piece)
        except ProtocolError:
            return found, True
        return found, False

    whole, failed = decoded([data])
    assert repr(decoded(pieces_of(data))) == repr((whole, failed)) or failed
    try:
        ends = split(data, 1)
    except ProtocolError:
        return
    assert 0 < ends[0] <= len(data)


def replies_seeds() -> list[bytes]:
    """One of each kind."""
    return [
        b"+OK\r\n:1\r\n-ERR x\r\n$3\r\nabc\r\n$-1\r\n*2\r\n:1\r\n$0\r\n\r\n*-1\r\n",
        b"_\r\n#t\r\n,1.5\r\n(123\r\n=7\r\ntxt:abc\r\n!5\r\nERR x\r\n",
        b"%1\r\n+a\r\n~1\r\n:1\r\n>2\r\n+x\r\n:1\r\n|1\r\n+k\r\n+v\r\n:2\r\n",
    ]


def check_course(data: bytes) -> None:
    """However the stream is cut, the same requests come of it; none is longer than a message may be."""

    def taken(pieces: list[bytes]) -> list[Request | str]:
        buffer = bytearray()
        found: list[Request | str] = []
        for piece in pieces:
            buffer += piece
            try:
                while (request := take_request(buffer)) is not None:
                    found.append(request)
            except ProtocolError as wrong:
                return [*found, str(wrong)]
        return found

    assert taken([data]) == taken(pieces_of(data))


def course_seeds() -> list[bytes]:
    """Each message of the original system that clients send."""
    key = bytes(range(16))
    return [
        bytes.fromhex("7b010004"),
        bytes.fromhex("7b010014") + key,
        b"".join(bytes.fromhex("7b030015") + key + bytes([op]) for op in (0, 1, 3)),
        bytes.fromhex("7b030018") + key + b"\x02v\0\0",
    ]
