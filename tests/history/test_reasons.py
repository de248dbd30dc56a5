"""What is said of each kind of violation: what is wrong, the operations in order of time, and why it cannot be."""

from __future__ import annotations

import json

import pytest

from tests.history.test_checkers import WRONG, cas, delete, incr, op, read, write
from twistedkv.history import reasons
from twistedkv.history.record import Record
from twistedkv.history.search import check_by_search
from twistedkv.history.verdict import check
from twistedkv.history.violation import Scale, Violation, in_words, letter, shown
from twistedkv.history.walk import Place
from twistedkv.history.witness import check_by_versions


def only(records: list[Record]) -> Violation:
    [violation] = check_by_versions(records)
    return violation


def test_a_stale_read_is_explained() -> None:
    history = [write(0, 1_000_000, "a", 1), write(2_000_000, 3_500_000, "b", 2), read(4_000_000, 5_000_000, "a", 1)]
    assert only(history).as_text() == (
        "key k: a stale read: what it returned had been replaced before it began.\n"
        "  In order of time, in ms since A was called:\n"
        '    A  0.0 to 1.0  process 0 writes "a": done, version 1.1\n'
        '    B  2.0 to 3.5  process 2000000 writes "b": done, version 1.2\n'
        '    C  4.0 to 5.0  process 4000000 reads: "a", version 1.1\n'
        "  B had ended before C was called, so C has to find version 1.2 or a newer one. It found 1.1, which A had "
        "made: what B did is lost, or was lost for a while."
    )


REASONS: dict[str, tuple[list[Record], str, str]] = {
    "read before": (
        WRONG["an unacknowledged write that was read and vanishes"],
        "a stale read: a newer version had been read before",
        "C had ended before D was called, so D has to find version 1.2 or a newer one. It found 1.1, which A had made: "
        "what C read, which B had made, is lost",
    ),
    "a write gets an older version": (
        [write(0, 1, "a", 2), write(2, 3, "b", 1)],
        "a write has an older version than what was known before it began",
        "A had ended before B was called, so B has to get a newer version than 1.2. It got 1.1.",
    ),
    "two writes": (
        [write(0, 1, "a", 1), write(0, 2, "b", 1)],
        "two writes have the same version",
        "A and B were both told that they made version 1.1",
    ),
    "two values": (
        [write(0, 1, "a", 1), read(2, 3, "{x}", 1)],
        "two values have the same version",
        'B read "{x}" at version 1.1, and A says that this version is another value',
    ),
    "a deletion's version": (
        [write(0, 1, "a", 1), delete(2, 3, 2), read(4, 5, "a", 2)],
        "the version of a deletion was found as that of a value",
        "A deleted the key at version 1.2, and B found a value",
    ),
    "another value than expected": (
        [write(0, 1, "a", 1), cas(2, 3, "b", 1, "c", 2)],
        "two values have the same version",
        'B names "b" as the value of version 1.1, which its process must have been told. But A made another',
    ),
    "no version": (
        [write(0, 1, "a")],
        "a write was acknowledged without a version",
        "A was answered with success, so its answer has to name a version",
    ),
    "a value without a version": (
        [read(0, 1, "a")],
        "a value was read without a version",
        "has to name a version",
    ),
    "a failed write": (
        WRONG["a write that failed, and was done"],
        "a value was read whose write had failed",
        "A was told that it certainly had no effect. B read what it would have written.",
    ),
    "done twice": (
        WRONG["an unknown write done twice"],
        "a value was read at two versions",
        "A is the only one that wrote",
    ),
    "at another version": (
        [write(0, 1, "a", 1), read(2, 3, "a", 2)],
        "a value was read at another version than that of its write",
        'A wrote "a" at version 1.1, B found it at 1.2.',
    ),
    "a mismatch with what nobody made": (
        WRONG["a mismatch with what nobody made"],
        "a version was found that nobody made",
        "No write was acknowledged with version 1.2",
    ),
    "a mismatch without a reason": (
        [op(0, 0, 1, "cas", None, "a", result="fail", mismatch=True, value=None)],
        "a cas that wanted no key failed, and found none",
        "A wanted that there is no key, and found none: it had to be done.",
    ),
    "a mismatch with what was expected": (
        [incr(0, 1, 1, 1), op(2, 2, 3, "cas", 1, "a", version=1, expected=(1, 1), result="fail", mismatch=True)],
        "a cas failed although it found the version that it expected",
        "A expected version 1.1, and what it found is that: it had to be done.",
    ),
    "a lost update": (
        WRONG["a lost update"],
        "a cas was done although the key had another version",
        'right before that the key held "b", version 1.2, which was made by A: that update is lost.',
    ),
    "an update although there was something": (
        [write(0, 1, "a", 1), cas(2, 3, None, 0, "b", 2)],
        "a cas was done although the key had another version",
        "B was to be done only if there was nothing. Its own version is 1.2, and right before that the key held",
    ),
    "a sum too large": (
        [incr(0, 1, 1, 1), incr(2, 3, 3, 3)],
        "the sum is wrong by 1",
        "B added 1 and was told 3, so the sum before it was 2. But right before that the key held 1, version 1.1. "
        "Something was added that nobody asked for, or twice.",
    ),
    "a sum too small": (
        [incr(0, 1, 5, 1)],
        "the sum is wrong by 4",
        "But right before that there was nothing.",
    ),
    "a sum of which only a read tells": (
        [incr(0, None), read(1, 2, 3, 1)],
        "the sum is wrong by 3",
        "A read 3. Right before, there was nothing, and no additions of unknown outcome explain the difference.",
    ),
    "no number": (
        [write(0, 1, "a", 1), incr(2, 3, 1, 2)],
        "a sum is not a number",
        'B made 1 by adding to a key when the key held "a", version 1.1.',
    ),
    "what was gone is there again": (
        WRONG["nothing, and then what was there before"],
        "no choice of what happened to the operations of unknown outcome explains the answers",
        'C went on from what was there before: the key held "a", version 1.1. But B found nothing then, and what is '
        "gone does not come back.",
    ),
    "an unknown cas that was done": (
        WRONG["an unknown cas of what had been replaced"],
        "a cas was done although the key had another version",
        "B was to be done only if there was version 1.1. Its own version is 1.3, and right before that the key held "
        '"b", version 1.2, which was made by A: that update is lost. C shows that it was done.',
    ),
    "one deletion for two": (
        WRONG["nothing twice, and one deletion for both"],
        "a key was not found although it was there all the time",
        "no deletion came after it. Deletions of unknown outcome (1) do not explain it together with everything else.",
    ),
    "removed twice": (
        WRONG["deleted twice"],
        "a deletion removed something where there was nothing",
        "B was told that it removed something. But right before that there was nothing (deleted at version 1.2)",
    ),
    "not found, and deleted later": (
        [write(0, 1, "a", 1), read(2, 3, None), delete(4, 5, 2)],
        "a key was not found although it was there all the time",
        "B found nothing. But before it began it was known that A had made version 1.1, and the next deletion, C, came",
    ),
}


@pytest.mark.parametrize("name", REASONS)
def test_each_kind_is_explained(name: str) -> None:
    records, text, why = REASONS[name]
    violation = only(records)
    assert violation.text == text
    assert why in violation.why, violation.why
    assert list(violation.records) == sorted(violation.records, key=lambda record: record.call)


def test_the_search_says_where_it_cannot_go_on() -> None:
    [violation], _ = check_by_search([write(0, 1, "a", 1), read(2, 3, "b", 2), write(2, None, "c")])
    assert violation.why == (
        "In no order can more than 1 of the 2 operations of known outcome have been answered as they were. After these "
        'the key holds "a", and the next one has to be B or an operation of unknown outcome. There is no way on from '
        "there."
    )


def test_the_verdict_says_what_the_other_checker_says() -> None:
    assert "finds no order of the operations either" in check(WRONG["a stale read"]).as_text()
    only_versions = check([write(0, 1, "a", 2), write(2, 3, "b", 1), read(4, 5, "b", 1)])
    assert "only the versions are wrong" in only_versions.as_text()
    assert [violation.key for violation in only_versions.violations] == ["k"]


def test_of_many_keys_the_first_are_explained_and_all_are_named() -> None:
    history = []
    for number in range(9):
        for record in (write(10 * number, 1 + 10 * number, "a", 1), read(10 * number + 2, 10 * number + 3, None)):
            record.key = f"k{number}"
            history.append(record)
    text = check(history).as_text()
    assert text.count("In order of time") == 5
    assert "by versions: 9 keys wrong" in text
    assert "wrong too: k5, k6, k7, k8" in text


def test_the_verdict_for_programs() -> None:
    document = json.loads(json.dumps(check(WRONG["a stale read"]).as_document()))
    assert document["linearizable"] is False
    [violation] = document["by_versions"]
    assert violation["key"] == "k"
    assert violation["text"].startswith("a stale read")
    assert [operation["f"] for operation in violation["operations"]] == ["write", "write", "read"]
    assert document["by_search"][0]["why"]
    assert check([]).as_document()["linearizable"] is True


def test_an_operation_that_nobody_knows_is_named_so() -> None:
    violation = reasons.does_not_fit(Place((1, 2), None, 3), Place((1, 1), None, 1), [read(0, 1, 3, 2)])
    assert violation.records == (violation.records[0],)
    assert "A read 3. Right before, the key held 1" in violation.why


def test_what_was_done_in_words() -> None:
    mismatch = op(4, 4, 5, "cas", "a", "c", version=2, expected=(1, 1), result="fail", mismatch=True, value=None)
    assert [in_words(each) for each in (mismatch, cas(0, 1, None, 0, "b", 1), delete(0, 1), incr(0, None))] == [
        'replaces "a" (version 1.1) by "c": refused, found version 1.2',
        'writes "b" if there is nothing: done, version 1.1',
        "deletes: there was nothing",
        "adds 1: outcome not known",
    ]
    assert shown("\x1b[31m" + "x" * 100).startswith('"\\u001b[31mxxx')
    assert len(shown("x" * 1000)) < 70
    assert [letter(number) for number in (0, 25, 26, 52)] == ["A", "Z", "A1", "A2"]


def test_times_have_a_unit_in_which_they_differ() -> None:
    assert Scale.of([0, 1_500_000, 3_000_000]) == Scale("ms", 1_000_000, 0)
    assert Scale.of([0, 400_000, 3_000_000]) == Scale("ms", 1_000_000, 1)
    assert Scale.of([5_000_000_000, 9_000_000_000]).text(4_000_000_000) == "4"
    assert Scale.of([7]).unit == "ns"
