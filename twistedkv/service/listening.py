"""A port of its own, beside the one that a daemon has for clients and peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory


class ClosingFactory(Protocol):
    """A Twisted factory that can close its connections in order."""

    def close_all(self) -> Deferred[None]:
        """Fires when the last one is gone."""


class PortService(Service):
    """Listens while it runs.

    host, port  where to listen; 0: a free port, which `port` names once it is known
    option      the option to change when that port is not free
    make        makes the factory, when the service is started
    """

    def __init__(self, reactor: Any, host: str, port: int, option: str, make: Callable[[], ClosingFactory]) -> None:
        self.port = port
        self._reactor = reactor
        self._host = host
        self._option = option
        self._make = make
        self._factory: ClosingFactory | None = None
        self._listening: IListeningPort | None = None

    def startService(self) -> None:
        self._factory = factory = self._make()
        self._listening = listen(self._reactor, self._host, self.port, self._option, factory)
        self.port = self._listening.getHost().port  # type: ignore[union-attr]
        super().startService()  # type: ignore[no-untyped-call]

    @inlineCallbacks
    def stopService(self) -> Any:
        """Stop listening, then close what is open."""
        if self._listening is not None:
            yield self._listening.stopListening()
        if self._factory is not None:
            yield self._factory.close_all()
        yield super().stopService()  # type: ignore[no-untyped-call]


def listen(reactor: Any, host: str, port: int, option: str, factory: IProtocolFactory | ClosingFactory) -> Any:
    """Listen there. Ends the program with one sentence when that cannot be done."""
    try:
        return reactor.listenTCP(port, factory, interface=host)
    except CannotListenError as error:
        raise SystemExit(f"twistedkv: cannot listen on {host}:{port}: {error}: choose another --{option}") from None
