"""A port of its own."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock

from twistedkv.service.listening import PortService


class Factory:
    """Knows whether it was closed."""

    closed = False

    def close_all(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)


def test_it_listens_while_it_runs() -> None:
    reactor, factory = MemoryReactorClock(), Factory()
    service = PortService(reactor, "127.0.0.1", 5000, "course-port", lambda: factory)
    assert not reactor.tcpServers
    service.startService()
    assert reactor.tcpServers[0][0] == 5000 and reactor.tcpServers[0][3] == "127.0.0.1"
    service.stopService()
    assert factory.closed


def test_a_port_that_is_taken_ends_the_program_with_a_sentence() -> None:
    class Taken:
        def listenTCP(self, port: int, factory: Any, interface: str) -> None:
            raise CannotListenError(interface, port, OSError("taken"))

    service = PortService(Taken(), "127.0.0.1", 5000, "course-port", Factory)
    with pytest.raises(SystemExit, match=r"cannot listen on 127\.0\.0\.1:5000: .*choose another --course-port"):
        service.startService()
