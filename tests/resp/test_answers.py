"""Replies read back: what the encoder writes, in any pieces; and what no server may send."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.errors import ProtocolError
from twistedkv.resp import replies
from twistedkv.resp.answers import (
    Answer,
    AnswerDecoder,
    ErrorAnswer,
    MapAnswer,
    PushAnswer,
    SetAnswer,
    StatusText,
    VerbatimText,
    split,
)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"+OK\r\n", StatusText(b"OK")),
        (b"-MOVED 1 127.0.0.1:7380\r\n", ErrorAnswer(b"MOVED 1 127.0.0.1:7380")),
        (b":-9223372036854775808\r\n", -(2**63)),
        (b"$5\r\na\r\nbc\r\n", b"a\r\nbc"),
        (b"$0\r\n\r\n", b""),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"_\r\n", None),
        (b"*0\r\n", []),
        (b"*2\r\n*1\r\n:1\r\n$-1\r\n", [[1], None]),
        (b"#t\r\n", True),
        (b"#f\r\n", False),
        (b",1.5\r\n", 1.5),
        (b",-inf\r\n", -math.inf),
        (b",1e-5\r\n", 1e-5),
        (b"(-123456789012345678901234567890\r\n", -123456789012345678901234567890),
        (b"!8\r\nERR a\r\nb\r\n", ErrorAnswer(b"ERR a\r\nb")),
        (b"=7\r\ntxt:abc\r\n", VerbatimText(b"txt", b"abc")),
        (b"%1\r\n*1\r\n:1\r\n#t\r\n", MapAnswer([([1], True)])),
        (b"~2\r\n+a\r\n+b\r\n", SetAnswer([StatusText(b"a"), StatusText(b"b")])),
        (b">1\r\n+invalidate\r\n", PushAnswer([StatusText(b"invalidate")])),
        (b"|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n", b"a"),
        (b"*2\r\n|1\r\n+ttl\r\n*1\r\n:3\r\n|0\r\n:1\r\n:2\r\n", [1, 2]),
    ],
)
def test_every_kind(data: bytes, answer: Answer) -> None:
    decoder = AnswerDecoder()
    assert decoder.feed(data) == [answer]
    assert not decoder.waiting
    for end in range(len(data)):
        assert AnswerDecoder().feed(data[:end]) == []
    assert split(data * 2, 2) == [len(data), 2 * len(data)]


def test_not_a_number() -> None:
    [answer] = AnswerDecoder().feed(b",nan\r\n")
    assert isinstance(answer, float)
    assert math.isnan(answer)


def test_the_kind_of_an_error_is_its_first_word() -> None:
    assert ErrorAnswer(b"TRYAGAIN later").kind == b"TRYAGAIN"
    assert ErrorAnswer(b"").kind == b""


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"$3\r\nabcde",
        b"$-2\r\n",
        b"$+1\r\n",
        b"$ 1\r\n",
        b"$?\r\n",
        b"$\r\n",
        b"*1_0\r\n",
        b"~-1\r\n",
        b"$99999999999\r\n",
        b":\r\n",
        b":+1\r\n",
        b":1_0\r\n",
        b":9223372036854775808\r\n",
        b"_x\r\n",
        b"#true\r\n",
        b",1_0\r\n",
        b",infinity\r\n",
        b", 1\r\n",
        b"(1.5\r\n",
        b"=3\r\ntxt\r\n",
        b"+a\nb\r\n",
    ],
)
def test_what_is_no_reply(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        AnswerDecoder().feed(data)


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        (b"$87\r\n" + b"x" * 87 + b"\r\n", b"$95\r\n"),
        (b"*20\r\n" + b":1\r\n" * 20, b"*20\r\n" + b":1234\r\n" * 14),
        (b"*2\r\n*9\r\n" + b"_\r\n" * 9 + b"*9\r\n", b"*11\r\n*10\r\n"),
        (b"%10\r\n", b"%11\r\n"),
        (b"*1\r\n*1\r\n*1\r\n", b"*1\r\n*1\r\n*1\r\n*0\r\n"),
        (b"+" + b"x" * 39 + b"\r\n", b"+" + b"x" * 40 + b"\r\n"),
        (b"+" + b"x" * 39, b"+" + b"x" * 40),
        (b"|0\r\n" * 20, b"|0\r\n" * 26),
    ],
    ids=["string", "all bytes", "all values", "pairs", "depth", "line", "line without end", "attributes"],
)
def test_limits(within: bytes, beyond: bytes) -> None:
    limits: dict[str, Any] = {"bytes_max": 100, "values_max": 20, "depth_max": 3, "line_bytes_max": 40}
    AnswerDecoder(**limits).feed(within)
    with pytest.raises(ProtocolError):
        AnswerDecoder(**limits).feed(beyond)


def test_limits_are_of_each_reply() -> None:
    answers = AnswerDecoder(bytes_max=20, values_max=2).feed(b"*2\r\n:1\r\n:2\r\n" * 100)
    assert answers == [[1, 2]] * 100


WORDS = st.binary(max_size=20)
LINES = WORDS.map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
INT64 = st.integers(-(2**63), 2**63 - 1)

Expected = tuple[bytes, Answer]


def leaves(protocol: int) -> st.SearchStrategy[Expected]:
    """An encoded reply and what it stands for."""

    def number(value: float) -> Expected:
        encoded = replies.double(value, protocol)
        return encoded, value if protocol == 3 else b"%.17g" % value

    return st.one_of(
        LINES.map(lambda text: (replies.simple(text), StatusText(text))),
        LINES.map(
            lambda text: (replies.error(text.decode("utf-8", "surrogateescape")), ErrorAnswer(text)),
        ),
        INT64.map(lambda value: (replies.integer(value), value)),
        WORDS.map(lambda value: (replies.bulk(value), value)),
        st.just((replies.nil(protocol), None)),
        st.just((replies.nil_array(protocol), None)),
        st.floats(allow_nan=False).map(number),
        WORDS.map(
            lambda text: (replies.text(text, protocol), VerbatimText(b"txt", text) if protocol == 3 else text),
        ),
        st.lists(WORDS, max_size=3).map(lambda values: (replies.bulks(values), list(values))),
        st.lists(LINES, max_size=3).map(lambda names: (replies.flags(names, protocol), flags(names, protocol))),
    )


def flags(names: list[bytes], protocol: int) -> Answer:
    members: list[Answer] = [StatusText(name) for name in names]
    return SetAnswer(members) if protocol == 3 else members


def trees(protocol: int) -> st.SearchStrategy[Expected]:
    def lists(parts: list[Expected]) -> Expected:
        return replies.array([encoded for encoded, _ in parts]), [value for _, value in parts]

    def maps(pairs: dict[bytes, Expected]) -> Expected:
        encoded = replies.mapping({key: part for key, (part, _) in pairs.items()}, protocol)
        if protocol == 3:
            return encoded, MapAnswer([(key, value) for key, (_, value) in pairs.items()])
        return encoded, [part for key, (_, value) in pairs.items() for part in (key, value)]

    return st.recursive(
        leaves(protocol),
        lambda inner: st.lists(inner, max_size=4).map(lists) | st.dictionaries(WORDS, inner, max_size=3).map(maps),
        max_leaves=12,
    )


EXPECTED = st.lists(trees(2), min_size=1, max_size=4) | st.lists(trees(3), min_size=1, max_size=4)
SIZES = st.lists(st.integers(1, 30), min_size=1)


def in_pieces(decoder: AnswerDecoder, data: bytes, sizes: list[int]) -> list[Answer]:
    answers: list[Answer] = []
    at = turn = 0
    while at < len(data):
        answers += decoder.feed(data[at : at + sizes[turn % len(sizes)]])
        at += sizes[turn % len(sizes)]
        turn += 1
    return answers


@given(EXPECTED, SIZES)
def test_what_was_encoded_comes_back_in_any_pieces(expected: list[Expected], sizes: list[int]) -> None:
    data = b"".join(encoded for encoded, _ in expected)
    decoder = AnswerDecoder()
    assert in_pieces(decoder, data, sizes) == [value for _, value in expected]
    assert not decoder.waiting


@given(EXPECTED, st.data())
def test_split_finds_every_end(expected: list[Expected], data: st.DataObject) -> None:
    encoded = b"".join(reply for reply, _ in expected)
    ends = split(encoded, len(expected))
    assert [encoded[start:end] for start, end in zip([0, *ends], ends, strict=False)] == [part for part, _ in expected]
    assert split(encoded, 0) == []
    assert split(encoded + b"trailing", len(expected)) == ends
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(ProtocolError):
        split(encoded[:cut], len(expected))


GARBAGE = st.binary() | st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", *(bytes([byte]) for byte in b"+-:$*_#,(!=%~>|0123tf.e")])
    | st.sampled_from([b"*2\r\n", b"$1\r\n", b"%1\r\n", b"|1\r\n", b":1\r\n", b"_\r\n", b"-1"])
).map(b"".join)


def outcome(data: bytes, sizes: list[int]) -> list[Answer] | None:
    """What is read, None for a ProtocolError."""
    try:
        return in_pieces(AnswerDecoder(bytes_max=1000, values_max=50, depth_max=4, line_bytes_max=30), data, sizes)
    except ProtocolError:
        return None


@given(GARBAGE, SIZES)
def test_garbage_is_refused_or_waited_for_whatever_its_pieces(data: bytes, sizes: list[int]) -> None:
    whole = outcome(data, [max(len(data), 1)])
    assert outcome(data, sizes) == whole
    # What can be cut into replies is not always read; but what is read can be cut.
    if whole is not None:
        assert len(split(data, len(whole))) == len(whole)


@given(GARBAGE, st.integers(1, 3))
def test_split_answers_garbage_with_nothing_but_an_error(data: bytes, count: int) -> None:
    try:
        ends = split(data, count)
    except ProtocolError:
        return
    assert ends == sorted(set(ends))
    assert ends[0] > 0
    assert ends[-1] <= len(data)
