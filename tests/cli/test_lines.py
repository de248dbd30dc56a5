"""Records as lines of text."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.cli.lines import (
    FORMATS,
    JSONL,
    TSV,
    LineError,
    escape,
    format_by_name,
    jsonl_line,
    line_of,
    numbered_lines,
    parse_jsonl_record,
    parse_tsv,
    parse_tsv_record,
    parser_of,
    tsv_line,
    unescape,
)

keys = st.binary(min_size=1, max_size=60) | st.text(min_size=1, max_size=15).map(lambda text: text.encode())
values = st.binary(max_size=200) | st.text(max_size=50).map(lambda text: text.encode())


@pytest.mark.parametrize("format_", FORMATS)
@given(records=st.lists(st.tuples(keys, values, st.just(0) | st.integers(1, 2**62))))
def test_any_bytes_survive(format_: str, records: list[tuple[bytes, bytes, int]]) -> None:
    file = b"".join(line_of(format_)(key, value, expiry) + b"\n" for key, value, expiry in records)
    lines = list(numbered_lines(io.BytesIO(file), 10_000))
    assert [number for number, _ in lines] == list(range(1, len(records) + 1))
    assert [parser_of(format_)(line) for _, line in lines] == records


@given(st.binary())
def test_escaped_fields_hold_no_separators(data: bytes) -> None:
    assert not set(escape(data)) & set(b"\t\n\r\0")
    assert unescape(escape(data)) == data


@given(st.binary(max_size=100), st.sampled_from(FORMATS))
def test_any_line_is_a_record_or_a_line_error(line: bytes, format_: str) -> None:
    try:
        key, value, expiry = parser_of(format_)(line)
    except LineError:
        return
    assert key
    assert parser_of(format_)(line_of(format_)(key, value, expiry)) == (key, value, expiry)


def test_tsv_by_hand() -> None:
    assert tsv_line(b"a\tb", b"1\n2\r\\\0\xff") == b"a\\tb\t1\\n2\\r\\\\\\0\xff"
    assert parse_tsv(b"k\t\n") == (b"k", b"")
    assert parse_tsv(b"k\tv\r\n") == (b"k", b"v")
    assert parse_tsv(b" k \t v ") == (b" k ", b" v ")


def test_jsonl_by_hand() -> None:
    assert jsonl_line(b"k", "ü\n".encode()) == '{"key": "k", "value": "ü\\n"}'.encode()
    assert json.loads(jsonl_line(b"\xff", b"\x80")) == {"key_base64": "/w==", "value_base64": "gA=="}
    assert parse_jsonl_record(b'{"value_base64": "", "key": "k", "version": 7}\r\n') == (b"k", b"", 0)
    assert parse_jsonl_record(b'{"key": null, "key_base64": "aw==", "value": "v"}') == (b"k", b"v", 0)


def test_moments_by_hand() -> None:
    assert tsv_line(b"k", b"v", 1_700_000_000_000) == b"k\tv\t1700000000000"
    assert parse_tsv_record(b"k\tv\t1700000000000\n") == (b"k", b"v", 1_700_000_000_000)
    assert parse_tsv_record(b"k\tv\t0") == (b"k", b"v", 0)
    assert json.loads(jsonl_line(b"k", b"v", 5)) == {"key": "k", "value": "v", "expires_at_ms": 5}
    assert parse_jsonl_record(jsonl_line(b"k", b"v", 5)) == (b"k", b"v", 5)
    for moment in (b"-1", b"\xb2", b"", b"%d" % 2**80, b"99999999999999999999", b"1\t2"):
        with pytest.raises(LineError):
            parse_tsv_record(b"k\tv\t" + moment)
    for moment in (b"-1", b"1.5", b"true", b'"5"', b"null", b"1e400", b"9999999999999999999999"):
        with pytest.raises(LineError, match="milliseconds"):
            parse_jsonl_record(b'{"key": "k", "value": "v", "expires_at_ms": %s}' % moment)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"key value", "there is no tab"),
        (b"k\tv\tw", "there are 2 tabs"),
        (b"k\ta\\x", "'\\\\x' is no escape"),
        (b"k\ta\\", "is no escape"),
        (b"k\ta\\\xff", "is no escape"),
        (b"\tv", "a key has 1 to 500 bytes, this one has 0"),
        (b"%s\tv" % (b"k" * 501), "this one has 501"),
    ],
)
def test_wrong_tsv(line: bytes, says: str) -> None:
    with pytest.raises(LineError) as caught:
        parse_tsv(line)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"key": "k"', "this is not JSON"),
        (b"\xff", "this is not JSON"),
        (b"[" * 100_000, "this is not JSON"),
        (b"[1]", "expected an object"),
        (b'{"key": "k"}', 'expected either "value" or "value_base64"'),
        (b'{"key": "k", "value": 5}', 'expected either "value" or "value_base64"'),
        (b'{"key": "k", "key_base64": "aw==", "value": ""}', 'expected either "key" or "key_base64"'),
        (b'{"key": "k", "value_base64": "a"}', "is not base64"),
        (b'{"key": "k", "value_base64": "\xc3\xa4"}', "is not base64"),
        (b'{"key": "\\ud800", "value": ""}', "half a surrogate pair"),
        (b'{"key": "", "value": ""}', "a key has 1 to 500 bytes"),
    ],
)
def test_wrong_json(line: bytes, says: str) -> None:
    with pytest.raises(LineError) as caught:
        parse_jsonl_record(line)
    assert says in str(caught.value)


def test_a_value_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twistedkv.cli.lines.VALUE_BYTES_MAX", 3)
    assert parse_tsv(b"k\t\\t\\t\\t") == (b"k", b"\t\t\t")
    with pytest.raises(LineError, match="a value has at most 3 bytes, this one has 4"):
        parse_tsv(b"k\t1234")


@pytest.mark.parametrize(
    ("name", "format_"),
    [("a.tsv", TSV), ("a", TSV), ("-", TSV), ("a.jsonl", JSONL), ("dir.tsv/A.NDJSON", JSONL), ("a.json", JSONL)],
)
def test_formats_by_name(name: str, format_: str) -> None:
    assert format_by_name(name) == format_


def test_a_line_that_never_ends_is_not_read_into_memory() -> None:
    stream = io.BytesIO(b"12345\r\n123456\n" + b"x" * 1000)
    lines = numbered_lines(stream, 5)
    assert next(lines) == (1, b"12345\r\n")
    with pytest.raises(LineError, match="line 2: a line has at most 5 bytes"):
        next(lines)
    assert stream.tell() < 20
