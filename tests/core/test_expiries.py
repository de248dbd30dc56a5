"""The index of keys that expire: against a dict, whatever is noted, forgotten and taken from it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twistedkv.core.expiries import Expiries

KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
MOMENTS = st.integers(1, 9)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("note"), KEYS, MOMENTS),
        st.tuples(st.just("forget"), KEYS, st.just(0)),
        st.tuples(st.just("due"), MOMENTS, st.integers(1, 6)),
        st.tuples(st.just("clear"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_it_is_a_dict_that_knows_the_soonest(steps):
    expiries, model = Expiries(), {}
    for what, first, second in steps:
        if what == "note":
            expiries.note(first, second)
            model[first] = second
        elif what == "forget":
            expiries.forget(first)
            model.pop(first, None)
        elif what == "clear":
            expiries.clear()
            model.clear()
        else:
            found = expiries.due(first, second)
            due = sorted(moment for moment in model.values() if moment <= first)
            assert len(set(found)) == len(found)
            assert [model[key] for key in found] == due[:second], "the soonest, each once"
        assert len(expiries) == len(model)
        assert bool(expiries) == bool(model)


def test_what_is_due_stays_until_it_is_forgotten():
    expiries = Expiries()
    expiries.note(b"a", 5)
    assert expiries.due(4, 10) == []
    assert expiries.due(5, 10) == expiries.due(5, 10) == [b"a"]
    expiries.forget(b"a")
    assert expiries.due(5, 10) == []


def test_a_key_that_expires_later_now_is_not_due_then():
    expiries = Expiries()
    expiries.note(b"a", 5)
    expiries.note(b"a", 9)
    assert expiries.due(5, 10) == []
    assert expiries.due(9, 10) == [b"a"]


def test_a_key_that_is_stored_again_and_again_does_not_make_it_grow():
    expiries = Expiries()
    for moment in range(10_000):
        expiries.note(b"a", moment)
        expiries.note(b"%d" % moment, moment)
        expiries.forget(b"%d" % moment)
    assert len(expiries) == 1
    assert len(expiries._heap) < 200
    assert expiries.due(9_999, 10) == [b"a"]


def test_when_nothing_expires_any_more_nothing_is_kept():
    expiries = Expiries()
    for number in range(50):
        expiries.note(b"%d" % number, number)
    for number in range(50):
        expiries.forget(b"%d" % number)
    assert (len(expiries), expiries._heap) == (0, [])
