"""The relations between the limits that safety rests on."""

from __future__ import annotations

import pytest

from twistedkv import limits
from twistedkv.limits import check_relations


def test_the_limits_as_they_are_pass() -> None:
    check_relations()


def test_a_clock_rate_error_that_the_grace_does_not_cover_is_refused() -> None:
    check_relations(0.14)
    with pytest.raises(ValueError, match="stale read could pass"):
        check_relations(0.15)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_BEATS", limits.GRACE_BEATS),
        ("GRACE_BEATS", limits.MISSED_BEATS),
        ("FRAME_BYTES_MAX", limits.UPDATE_BYTES_MAX),
        ("UPDATE_BYTES_MAX", limits.VALUE_BYTES_MAX),
    ],
)
def test_each_relation_is_checked(monkeypatch: pytest.MonkeyPatch, name: str, value: int) -> None:
    monkeypatch.setattr(limits, name, value)
    with pytest.raises(ValueError, match=name):
        check_relations(0.0)


def test_a_version_fills_64_bits() -> None:
    assert (limits.EPOCH_MAX << limits.SEQUENCE_BITS) + limits.SEQUENCE_MAX == 2**64 - 1


def test_a_suspicion_comes_after_the_grace_and_a_silent_member_before() -> None:
    assert limits.PEER_SILENCE_BEATS < limits.MISSED_BEATS
    assert limits.BACKOFF_SECONDS_MIN < limits.BACKOFF_SECONDS_MAX < limits.DEADLINE_SECONDS
