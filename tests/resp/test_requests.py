"""Requests of RESP: arrays and lines, in any pieces, and what is none."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.limits import ARGUMENTS_MAX, INLINE_BYTES_MAX, REQUEST_BYTES_MAX, VALUE_BYTES_MAX
from twistedkv.resp.requests import Request, RequestParser, Run, commands_of

ARGUMENTS = st.lists(
    st.binary(max_size=40) | st.sampled_from([b"\r\n", b"\r", b"\n", b"a\r\nb\r\n\r", b""]), min_size=1
)
WORDS = st.lists(st.from_regex(rb"[A-Za-z0-9_:-]{1,9}", fullmatch=True), min_size=1, max_size=4)


def array(arguments: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(arguments) + b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in arguments)


def fed(*pieces: bytes) -> tuple[list[list[bytes]], str]:
    parser = RequestParser()
    commands = []
    for piece in pieces:
        if not parser.failed:
            commands += commands_of(parser.feed(piece))
    return commands, parser.failed


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


def test_an_array_is_a_command() -> None:
    assert fed(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n") == ([[b"GET", b"k"]], "")


@given(st.lists(ARGUMENTS | WORDS.map(tuple), max_size=6), st.lists(st.integers(0, 10_000), max_size=20), st.booleans())
def test_arrays_and_lines_in_any_pieces(
    commands: list[list[bytes] | tuple[bytes, ...]], cuts: list[int], feed: bool
) -> None:
    data = b"".join(
        array(command) if isinstance(command, list) else b" ".join(command) + (b"\n" if feed else b"\r\n")
        for command in commands
    )
    assert fed(*in_pieces(data, cuts)) == ([list(command) for command in commands], "")


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=10))
def test_pieces_make_no_difference_to_anything(data: bytes, cuts: list[int]) -> None:
    whole, pieces = fed(data), fed(*in_pieces(data, cuts))
    if not whole[1]:
        assert pieces == whole
    else:
        assert pieces[1]


GARBAGE = st.lists(
    st.sampled_from(
        [
            b"*",
            b"$",
            b"\r\n",
            b"\n",
            b"\r",
            b"1",
            b"2",
            b"-1",
            b"0",
            b"a",
            b"bc",
            b'"',
            b"'",
            b" ",
            b"*1\r\n$1\r\nA\r\n",
        ]
    )
).map(b"".join)


@given(GARBAGE, st.lists(st.integers(0, 200), max_size=10))
def test_pieces_make_no_difference_to_what_is_nearly_right(data: bytes, cuts: list[int]) -> None:
    whole, pieces = fed(data), fed(*in_pieces(data, cuts))
    assert pieces == whole


def test_a_megabyte_of_value_byte_by_byte_at_its_end() -> None:
    value = bytes(range(256)) * 4096
    data = array([b"SET", b"k", value])
    pieces = [data[start : start + 1000] for start in range(0, len(data), 1000)]
    assert fed(*pieces) == ([[b"SET", b"k", value]], "")


def test_empty_lines_and_empty_arrays_are_nothing() -> None:
    assert fed(b"\r\n\n*0\r\n*-1\r\nPING\r\n") == ([[b"PING"]], "")


def test_what_came_before_an_error_is_executed() -> None:
    commands, failed = fed(b"PING\r\n*1\r\n+3\r\nfoo\r\n")
    assert commands == [[b"PING"]]
    assert failed == "ERR Protocol error: expected '$', got '+'"


@pytest.mark.parametrize(
    ("data", "failed"),
    [
        (b"*x\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"* 1\r\n", "invalid multibulk length"),
        (b"*1_0\r\n", "invalid multibulk length"),
        ("*\u0661\r\n".encode(), "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*%d\r\n" % (ARGUMENTS_MAX + 1), "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$+1\r\n", "invalid bulk length"),
        (b"*1\r\n$ 1\r\n", "invalid bulk length"),
        (b"*1\r\n$%d\r\n" % (VALUE_BYTES_MAX + 1), "invalid bulk length"),
        (b"*1\r\n3\r\n", "expected '$', got '3'"),
        (b"*1\r\nx", "expected '$', got 'x'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n\r", "expected '$', got ' '"),
        (b"*" + b"1" * INLINE_BYTES_MAX + b"1", "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * INLINE_BYTES_MAX + b"1", "too big bulk count string"),
        (b"x" * (INLINE_BYTES_MAX + 1), "too big inline request"),
        (b"x" * (INLINE_BYTES_MAX + 1) + b"\r\n", "too big inline request"),
        (b'GET "k\r\n', "unbalanced quotes in request"),
        (b"*1\r\n$1\r\nAB\r\n", "the bulk string of 1 bytes is not ended by CRLF"),
        (b"*1\r\n$1\r\nABCD", "the bulk string of 1 bytes is not ended by CRLF"),
        (b"*1\r\n$3\r\nA\r\nB\r\n", "the bulk string of 3 bytes is not ended by CRLF"),
        (b"GET / HTTP/1.1\r\n", "this port does not speak HTTP"),
        (b"POST /k\r\n", "this port does not speak HTTP"),
        (b"Host: localhost\r\n", "this port does not speak HTTP"),
        (b"\x16\x03\x01\x02\x00\x01", "this port does not speak TLS"),
    ],
)
def test_what_is_no_request(data: bytes, failed: str) -> None:
    assert fed(data) == ([], "ERR Protocol error: " + failed)
    one_by_one = [data[at : at + 1] for at in range(len(data))] if len(data) < 1000 else [data]
    assert fed(*one_by_one)[1]


def test_a_path_that_is_a_key_is_no_http() -> None:
    assert fed(b"GET /index.html\r\n") == ([[b"GET", b"/index.html"]], "")


def test_a_request_is_bounded_as_a_whole() -> None:
    half = bytes(VALUE_BYTES_MAX)
    parser = RequestParser()
    assert parser.feed(b"*4\r\n" + b"$%d\r\n%b\r\n" % (len(half), half) * 2) == []
    assert REQUEST_BYTES_MAX == 2 * VALUE_BYTES_MAX and not parser.failed
    assert parser.feed(b"$1\r\n") == []
    assert parser.failed == "ERR Protocol error: invalid bulk length"


def test_a_request_that_is_begun_is_partial() -> None:
    parser = RequestParser()
    assert not parser.partial
    parser.feed(b"*2\r\n$1\r\nA\r\n")
    assert parser.partial
    parser.feed(b"$1\r\nB\r\nPING")
    assert parser.partial
    parser.feed(b"\n")
    assert not parser.partial


@given(
    st.integers(2, 4),
    st.lists(st.binary(max_size=5) | st.sampled_from([b"\r\n", b"$1", b"*3", b"a\r\nb"]), min_size=4, max_size=4),
    st.lists(st.integers(0, 39), max_size=3),
    st.lists(st.integers(0, 10_000), max_size=4),
)
def test_a_burst_of_like_commands_with_some_that_are_not(
    count: int, odd: list[bytes], places: list[int], cuts: list[int]
) -> None:
    commands = [[b"CMD", *(b"%d" % number for _ in range(count - 1))] for number in range(40)]
    for place in places:
        commands[place] = [b"CMD", *odd[: place % 4]]
    data = b"".join(map(array, commands))
    assert fed(data) == (commands, "")
    assert fed(*in_pieces(data, cuts)) == (commands, "")


# Commands of one name in a row, which come as one.


NAMES = st.sampled_from([b"SET", b"set", b"GET", b"DEL"])
VALUES = (
    st.binary(max_size=6)
    | st.sampled_from([b"", b"\r\n", b"a\r\n$1\r\nb", b"$3", b"*3", b"*3\r\n$3\r\nSET"])
    | st.integers(1098, 1102).map(bytes)
)
BURSTS = st.lists(
    st.tuples(NAMES, st.integers(0, 3), st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=1, max_size=8)),
    max_size=4,
).map(lambda bursts: [[name, *arguments[:width]] for name, width, several in bursts for arguments in several])
"""Commands of one name and with so many arguments in a row, then of another, and values of which a few are special."""


def requests_of(data: bytes) -> list[Request]:
    """What comes of the data, as it comes."""
    return RequestParser().feed(data)


@given(BURSTS, st.lists(st.integers(0, 10_000), max_size=6))
def test_commands_in_a_row_are_the_same_singly_and_together(commands: list[list[bytes]], cuts: list[int]) -> None:
    pieces = [array(command) for command in commands]
    data = b"".join(pieces)
    assert fed(*pieces) == (commands, "")
    assert fed(data) == (commands, "")
    assert fed(*in_pieces(data, cuts)) == (commands, "")


@given(BURSTS, GARBAGE, BURSTS, st.lists(st.integers(0, 10_000), max_size=6))
def test_what_is_wrong_among_commands_in_a_row_is_found_in_any_pieces(
    before: list[list[bytes]], garbage: bytes, behind: list[list[bytes]], cuts: list[int]
) -> None:
    data = b"".join(map(array, before)) + garbage + b"".join(map(array, behind))
    assert fed(*in_pieces(data, cuts)) == fed(data) == fed(*(data[at : at + 1] for at in range(len(data))))


@given(BURSTS)
def test_a_run_has_columns_of_one_length_and_says_which_commands_it_is(commands: list[list[bytes]]) -> None:
    found = requests_of(b"".join(map(array, commands)))
    assert commands_of(found) == commands
    for request in found:
        if isinstance(request, Run):
            assert request.columns and {len(column) for column in request.columns} == {len(request)}
            singly = request.commands()
            assert len(singly) == len(request) and all(command[0] == request.name for command in singly)
            assert commands_of([request]) == singly


def test_like_commands_in_a_row_come_as_one() -> None:
    sets = [[b"SET", b"k%d" % n, b"v"] for n in range(5)]
    gets = [[b"GET", b"k%d" % n] for n in range(4)]
    [run] = requests_of(b"".join(map(array, sets)))
    assert isinstance(run, Run)
    assert (run.name, run.columns, len(run)) == (b"SET", [[b"k%d" % n for n in range(5)], [b"v"] * 5], 5)
    [run] = requests_of(b"".join(map(array, gets)))
    assert isinstance(run, Run)
    assert (run.name, run.columns, len(run)) == (b"GET", [[b"k%d" % n for n in range(4)]], 4)


def test_few_commands_or_other_names_come_singly() -> None:
    few = [[b"SET", b"k%d" % n, b"v"] for n in range(3)]
    assert requests_of(b"".join(map(array, few))) == few
    other = [[name, b"k", b"v"] for name in (b"SET", b"set", b"SET", b"SET", b"SET")]
    assert requests_of(b"".join(map(array, other))) == other


def test_a_run_ends_with_the_last_whole_command_and_the_next_goes_on() -> None:
    sets = [[b"SET", b"k%02d" % n, b"v"] for n in range(12)]
    data = b"".join(map(array, sets))
    parser = RequestParser()
    middle = len(data) // 2 + 3
    first, second = parser.feed(data[:middle]), parser.feed(data[middle:])
    assert commands_of(first) == sets[:6] and commands_of(second) == sets[6:]


@given(ARGUMENTS.filter(lambda arguments: len(arguments) < 12), ARGUMENTS, st.integers(0, 400))
def test_a_command_that_comes_alone_is_the_same_as_among_others(
    arguments: list[bytes], following: list[bytes], cut: int
) -> None:
    """When it is whole, it is taken at once."""
    alone, next_one = array(list(arguments)), array(list(following))
    assert fed(b"PING\r\n", alone, next_one) == ([[b"PING"], list(arguments), list(following)], "")
    both = alone + next_one
    cut %= len(both)
    assert fed(b"PING\r\n", both[:cut], both[cut:])[0] == [[b"PING"], list(arguments), list(following)]
