"""A store that fails ends the process before another word is said."""

from __future__ import annotations

from typing import Any

import pytest

from twistedkv.errors import ProtocolError, StorageFailed
from twistedkv.net.failstop import fail_stop


class Server:
    def __init__(self) -> None:
        self.failed: list[BaseException] = []

    def storage_failed(self, error: BaseException) -> None:
        self.failed.append(error)


class Session:
    def __init__(self, server: Any) -> None:
        self._server = server

    @fail_stop
    def received(self, error: BaseException | None) -> None:
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [StorageFailed("input/output error"), MemoryError()])
def test_what_a_store_can_fail_with_ends_the_server(error: BaseException) -> None:
    server = Server()
    Session(server).received(error)
    assert server.failed == [error]


def test_what_a_peer_can_cause_does_not() -> None:
    server = Server()
    Session(server).received(None)
    with pytest.raises(ProtocolError):
        Session(server).received(ProtocolError("no frame"))
    assert not server.failed
