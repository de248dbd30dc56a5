"""Replies that are made of many at once: the same bytes as those of each alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.resp import replies

HEAD = 9
RECORDS = st.lists(st.just(b"") | st.binary(min_size=HEAD, max_size=HEAD + 4), min_size=1, max_size=8)
ALIKE = st.integers(0, 4).flatmap(
    lambda size: st.lists(st.binary(min_size=HEAD + size, max_size=HEAD + size), min_size=1, max_size=8)
)


@pytest.mark.parametrize("protocol", [2, 3])
@given(records=RECORDS | ALIKE)
def test_the_values_of_records_are_those_of_each(protocol: int, records: list[bytes]) -> None:
    """Whether they are of one size or not, and with those that are missing."""
    each = [replies.bulk(record[HEAD:]) if record else replies.nil(protocol) for record in records]
    assert replies.of_records(records, HEAD, protocol) == b"".join(each)


def test_expected_bytes() -> None:
    head = bytes(HEAD)
    assert replies.of_records([head + b"ab", head + b"cd"], HEAD, 2) == b"$2\r\nab\r\n$2\r\ncd\r\n"
    assert replies.of_records([head, head], HEAD, 2) == b"$0\r\n\r\n$0\r\n\r\n"
    assert replies.of_records([b"", head + b"a"], HEAD, 2) == b"$-1\r\n$1\r\na\r\n"
    assert replies.of_records([b"", b""], HEAD, 3) == b"_\r\n_\r\n"
