"""Keys that stand in a relation at every moment, so that a copy of another than one moment shows."""

from __future__ import annotations

import threading

from tests.live.cluster import wait_for
from twistedkv.blocking import Client
from twistedkv.errors import OperationError

TAGS = [b"{tag%d}" % n for n in range(24)]


class Pairs:
    """Writes two keys of each tag in turn, so that at every moment the first is as large as the second, or one larger.

    A third one is stored before and deleted after, so that it is there only while the two differ.
    """

    def __init__(self, address: str) -> None:
        self.stopped = False
        self.rounds = 0
        self.problems: list[str] = []
        self._client = Client(address, deadline=30)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Pairs:
        self._thread.start()
        wait_for("the first rounds", lambda: self.rounds > 2 or self.problems)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped = True
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        number = 0
        try:
            while not self.stopped:
                number += 1
                text = b"%d" % number
                self._client.mput({tag + b"between": b"x" for tag in TAGS})
                self._client.mput({tag + b"first": text for tag in TAGS})
                self._client.mput({tag + b"second": text for tag in TAGS})
                self._client.apply({tag + b"between": (None, 0) for tag in TAGS})
                self.rounds = number
        except OperationError as error:
            self.problems.append(str(error))


def check_pairs(found: dict[bytes, bytes], least: int, most: int) -> None:
    for tag in TAGS:
        first, second = int(found[tag + b"first"]), int(found[tag + b"second"])
        assert first - second in (0, 1), tag
        assert least <= second <= first <= most + 1, tag
        assert first == second or tag + b"between" in found, tag
