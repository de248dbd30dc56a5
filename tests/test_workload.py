"""Workload files: parsing, writing, generating."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv import workload
from twistedkv.errors import InvalidRequest
from twistedkv.workload import (
    Operation,
    Verb,
    WorkloadError,
    format_operation,
    generate,
    parse_line,
    parse_lines,
)


@pytest.mark.parametrize(
    ("line", "operation"),
    [
        (b'0 "k"', Operation(Verb.NOOP, b"k")),
        (b'G "key 0"\n', Operation(Verb.GET, b"key 0")),
        (b'G "k" "ignored" 3', Operation(Verb.GET, b"k", None, 3)),
        (b'G "k" "" 3', Operation(Verb.GET, b"k", None, 3)),
        (b'P "k" "v"\r\n', Operation(Verb.PUT, b"k", b"v")),
        (b'  P\t"k"   "a value"  12 \n', Operation(Verb.PUT, b"k", b"a value", 12)),
        (b'V "k" " "', Operation(Verb.VERIFY, b"k", b" ")),
        (b'C "k" "\xff\xfe"', Operation(Verb.CHECK, b"k", b"\xff\xfe")),
        ('C "schlüssel" "wert"'.encode(), Operation(Verb.CHECK, "schlüssel".encode(), b"wert")),
        (b"\n", None),
        (b"   ", None),
    ],
)
def test_lines(line: bytes, operation: Operation | None) -> None:
    assert parse_line(line) == operation


def test_a_space_as_value_says_that_a_key_must_not_exist() -> None:
    absent, present = parse_line(b'V "k" " "'), parse_line(b'V "k" "x"')
    assert absent is not None
    assert present is not None
    assert absent.expected is None
    assert present.expected == b"x"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'X "k"', "begins with 'X'"),
        (b'g "k"', "begins with 'g'"),
        (b'GET "k"', "begins with 'GET'"),
        (b"G", "expected a key in double quotes after G"),
        (b"G k", "expected a key in double quotes after G"),
        (b'G "k', "a double quote is missing"),
        (b'P "k" "a"b"', "a double quote is missing"),
        (b'P "k" "a" "b"', "one key and at most one value"),
        (b'P "k" "a" many', "a count in digits"),
        (b'P "k" "a" 99999999999', "a count in digits"),
        (b'P "k" "a" 0', "a count is 1 to"),
        (b'P "k"', "P needs a value"),
        (b'P "k" ""', "P needs a value"),
        (b'V "k"', "V needs a value"),
        (b'G ""', "a key has 1 to 500 bytes"),
        (b'G "%s"' % (b"k" * 501), "a key has 1 to 500 bytes"),
        (b'P "k" "%s"' % (b"v" * 2048), "at most 2048 characters"),
    ],
)
def test_wrong_lines_are_named_with_their_number(line: bytes, says: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        list(parse_lines([b'G "k"\n', b"\n", line]))
    assert str(caught.value).startswith("line 3: ")
    assert says in str(caught.value)
    assert caught.value.line == 3


def test_the_longest_line_counts_characters_and_not_its_end() -> None:
    value = "ü" * (2048 - len('P "k" ""'))
    operation = parse_line(f'P "k" "{value}"\r\n'.encode())
    assert operation == Operation(Verb.PUT, b"k", value.encode())


texts = st.binary(min_size=1, max_size=60).filter(lambda data: not set(data) & set(b'"\r\n'))
counts = st.integers(1, workload.COUNT_MAX)
writes = st.builds(Operation, st.sampled_from([Verb.PUT, Verb.VERIFY, Verb.CHECK]), texts, texts, counts)
reads = st.builds(Operation, st.sampled_from([Verb.NOOP, Verb.GET]), texts, st.none(), counts)


@given(writes | reads)
def test_what_is_written_is_read_back(operation: Operation) -> None:
    assert parse_line(format_operation(operation)) == operation
    assert list(parse_lines([format_operation(operation) + b"\n"])) == [(1, operation)]


@given(st.binary(max_size=80))
def test_any_line_gives_an_operation_or_a_workload_error(line: bytes) -> None:
    try:
        operation = parse_line(line)
    except WorkloadError:
        return
    assert operation is None or operation.count >= 1


@pytest.mark.parametrize("value", [b'a"b', b"a\nb", b"", b"v" * 2048])
def test_what_the_format_cannot_say_is_refused(value: bytes) -> None:
    with pytest.raises(WorkloadError):
        format_operation(Operation(Verb.PUT, b"k", value))


def replay_on_dict(operations: list[Operation]) -> int:
    """Replay on a dict; the number of checks, each of which has passed."""
    store: dict[bytes, bytes] = {}
    checks = 0
    for operation in operations:
        if operation.verb is Verb.PUT:
            assert operation.value is not None
            store[operation.key] = operation.value
        elif operation.verb in workload.CHECKS:
            assert store.get(operation.key) == operation.expected
            checks += 1
    return checks


@given(
    st.integers(1, 300),
    st.floats(0, 100, exclude_min=True),
    st.none() | st.integers(1, 300),
    st.integers(),
)
def test_every_generated_workload_passes_on_a_dict(
    operations: int, put_percent: float, keys: int | None, seed: int
) -> None:
    puts = max(1, round(operations * put_percent / 100))
    if keys is not None and keys > puts:
        with pytest.raises(InvalidRequest):
            list(generate(operations, put_percent, keys, seed))
        return
    made = list(generate(operations, put_percent, keys, seed))
    assert len(made) == operations
    assert replay_on_dict(made) == operations - puts
    assert len({operation.key for operation in made}) == (keys or max(1, round(puts * 2 / 3)))
    assert made == list(generate(operations, put_percent, keys, seed))
    assert [operation for _, operation in parse_lines(map(format_operation, made))] == made


def test_the_default_workload_has_the_shape_of_the_original() -> None:
    made = list(generate())
    puts = [operation for operation in made if operation.verb is Verb.PUT]
    assert len(made) == 21_000
    assert len(puts) == 1050
    assert replay_on_dict(made) == 19_950
    assert len({put.key for put in puts}) == 700
    assert len({put.value for put in puts}) == 1050
    for put in puts:
        assert put.value is not None
        assert [len(part) for part in put.key.split(b"_")[::2]] == [3, 10]
        assert [len(part) for part in put.value.split(b"_")[::2]] == [5, 100]
    assert made != list(generate(seed=2))


@pytest.mark.parametrize(("operations", "percent"), [(0, 5.0), (10, 0.0), (10, 101.0)])
def test_impossible_workloads_are_refused(operations: int, percent: float) -> None:
    with pytest.raises(InvalidRequest):
        list(generate(operations, percent))
