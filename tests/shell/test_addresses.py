"""Addresses in answers, also in those of a server that makes things up."""

from __future__ import annotations

import pytest

from twistedkv.resp.answers import Answer, ErrorAnswer
from twistedkv.shell.addresses import Redirect, addresses_of, redirect_of

ASKED = "db1:7379"


@pytest.mark.parametrize(
    ("text", "redirect"),
    [
        (b"MOVED 866 10.0.0.2:7380", Redirect(866, "10.0.0.2:7380")),
        (b"ASK 0 db2.example:1", Redirect(0, "db2.example:1")),
        (b"MOVED 866 :7380", Redirect(866, "db1:7380")),
        (b"MOVED 866 ::1:7380", Redirect(866, "::1:7380")),
        (b"MOVED 866", None),
        (b"MOVED x 10.0.0.2:7380", None),
        (b"MOVED 866 10.0.0.2", None),
        (b"MOVED 866 10.0.0.2:0", None),
        (b"MOVED 866 10.0.0.2:65536", None),
        (b"MOVED 866 10.0.0.2:" + b"9" * 5000, None),
        ("MOVED ٣ 10.0.0.2:7380".encode(), None),
        (b"MOVED 866 10.0.0.2:7380 now", None),
    ],
)
def test_redirects(text: bytes, redirect: Redirect | None) -> None:
    assert redirect_of(ErrorAnswer(text), ASKED) == redirect


@pytest.mark.parametrize(
    ("slots", "addresses"),
    [
        (
            [
                [0, 8191, [b"10.0.0.1", 7379, b"id"], [b"10.0.0.2", 7380, b"id", []]],
                [8192, 16383, [b"10.0.0.2", 7380, b"id"], [b"10.0.0.1", 7379, b"id"]],
            ],
            ["10.0.0.1:7379", "10.0.0.2:7380"],
        ),
        ([[0, 1, [None, 7380]], [2, 3, [b"", 7381]]], ["db1:7380", "db1:7381"]),
        ([], []),
        (ErrorAnswer(b"ERR This instance has cluster support disabled"), []),
        (None, []),
        ([1, b"x", [], [0, 1], [0, 1, 2], [0, 1, [b"h"]], [0, 1, [b"h", b"1"]], [0, 1, [b"h", 0]]], []),
    ],
)
def test_the_servers_of_a_cluster(slots: Answer, addresses: list[str]) -> None:
    assert addresses_of(slots, ASKED) == addresses


def test_no_more_servers_than_can_be_tried() -> None:
    assert len(addresses_of([[0, 1, [b"h", port]] for port in range(1, 60_000)], ASKED)) == 1000
