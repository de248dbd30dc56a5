"""What the copies of a slot say, and which of them is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.core.evidence import (
    DIGEST_BYTES,
    decode_listing,
    digest_of,
    encode_listing,
    judge,
    listing_of,
)
from twistedkv.errors import ProtocolError
from twistedkv.records import make_record

NEW, OLD, OTHER = (9, 1), (8, 1), (9, 2)
"""A version, an older one, and the version with other content."""
LISTINGS = st.dictionaries(
    st.binary(min_size=1, max_size=3),
    st.none() | st.tuples(st.integers(1, 2**64 - 1), st.integers(0, 2**32 - 1)),
    max_size=6,
)


@given(listing=LISTINGS)
def test_a_listing_comes_back(listing):
    assert decode_listing(encode_listing(listing)) == listing
    assert len(digest_of(listing)) == DIGEST_BYTES


@given(one=LISTINGS, other=LISTINGS)
def test_digests_are_equal_when_listings_are(one, other):
    assert (digest_of(one) == digest_of(other)) == (one == other)


@given(listing=LISTINGS, cut=st.integers(1, 30))
def test_a_listing_that_is_cut_short_is_refused(listing, cut):
    packed = encode_listing(listing)
    with pytest.raises(ProtocolError):
        decode_listing(packed[: max(0, len(packed) - cut)])


def test_a_listing_is_of_versions_and_contents():
    listing = listing_of([(b"k", make_record(5, 0, b"v")), (b"j", make_record(5, 0, b"w"))], [b"x"])
    assert listing[b"k"] != listing[b"j"]
    assert listing[b"k"][0] == 5  # type: ignore[index]
    assert listing[b"x"] is None


@pytest.mark.parametrize(
    ("own", "others", "winner"),
    [
        (NEW, (NEW,), "nothing to do"),
        (None, (NEW,), 1),
        (NEW, (None,), 0),
        (None, (None,), None),
        (OLD, (NEW,), 1),
        (NEW, (OLD,), 0),
        (NEW, (OTHER,), 0),
        (OTHER, (NEW, NEW), 1),
        (NEW, (OTHER, OTHER), 1),
        (NEW, (NEW, OTHER), 0),
        (OLD, (OLD, NEW), 2),
        (None, (None, OLD), 2),
        ("none", (NEW,), 1),
        (NEW, ("none",), 0),
        (NEW, ("none", "none"), 1),
        ("none", ("none", NEW), 0),
        ("none", (NEW, NEW), 1),
        (None, ("none",), 1),
        (None, ("none", NEW), 2),
    ],
)
def test_who_is_believed(own, others, winner):
    def listing(word):
        return {} if word == "none" else {b"k": word}

    verdict = judge(listing(own), {place: listing(word) for place, word in enumerate(others, 1)})
    assert verdict == ({} if winner == "nothing to do" else {b"k": winner})


@given(listings=st.lists(LISTINGS, min_size=2, max_size=4))
def test_a_verdict_is_of_what_differs_or_is_damaged(listings):
    own, others = listings[0], dict(enumerate(listings[1:], 1))
    verdict = judge(own, others)
    for key in set().union(*listings):
        said = [listing.get(key, "none") for listing in listings]
        assert (key in verdict) == (len(set(said)) > 1 or None in said)
        if key in verdict and verdict[key] is None:
            assert set(said) == {None}
