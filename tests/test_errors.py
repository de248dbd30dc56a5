"""One tree of errors, whose types say what became of a write."""

from __future__ import annotations

import inspect

import pytest

from twistedkv import errors
from twistedkv.errors import NotDone, OperationError, OutcomeUnknown, Status, TwistedKVError, VersionMismatch

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


def test_the_first_five_codes_are_those_of_the_original_system() -> None:
    assert [status.name for status in Status][:5] == [
        "SUCCESS",
        "SERVER_FAILURE",
        "INVALID_REQUEST",
        "KEY_NOT_FOUND",
        "OUT_OF_SPACE",
    ]
    assert [int(status) for status in Status] == list(range(len(Status)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_of_the_tree_and_says_what_it_is(kind: type[Exception]) -> None:
    assert issubclass(kind, TwistedKVError)
    assert isinstance(kind.status, Status)
    assert kind.status is not Status.SUCCESS
    assert kind.__doc__


def test_not_done_and_unknown_are_apart() -> None:
    assert not issubclass(OutcomeUnknown, NotDone)
    assert not issubclass(NotDone, OutcomeUnknown)
    for kind in KINDS:
        if issubclass(kind, OperationError) and kind not in (OperationError, NotDone, OutcomeUnknown):
            assert issubclass(kind, NotDone) != issubclass(kind, OutcomeUnknown)


def test_a_mismatch_carries_the_version_found() -> None:
    assert VersionMismatch("no", 7).found == 7
