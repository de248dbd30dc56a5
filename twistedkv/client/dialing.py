"""Connections to hosts that are given by name.

`HostnameEndpoint` makes a LoopingCall, and that installs the global reactor even where another one is used: the
blocking client must not do that to its program. So names are resolved here, and addresses are dialled, one after
the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedkv.messages.hello import Hello, HelloReply
from twistedkv.net.framed import Connection, HelloRefused, Session, dial


def connect(
    reactor: Any, host: str, port: int, hello: Hello, make_session: Callable[[Connection, HelloReply], Session]
) -> Deferred[Connection]:
    """As `net.framed.dial`, for names too: their addresses are tried in turn."""
    if isIPAddress(host) or isIPv6Address(host):
        return dial(reactor, host, port, hello, make_session)

    def attempt(addresses: list[str]) -> Deferred[Connection]:
        dialing = dial(reactor, addresses[0], port, hello, make_session)
        if len(addresses) > 1:
            dialing.addErrback(next_one, addresses[1:])
        return dialing

    def next_one(failure: Failure, addresses: list[str]) -> Failure | Deferred[Connection]:
        return failure if failure.check(CancelledError, HelloRefused) else attempt(addresses)

    return _resolve(reactor, host, port).addCallback(attempt)


def _resolve(reactor: Any, host: str, port: int) -> Deferred[list[str]]:
    """The addresses of a name; fails with DNSLookupError when there are none."""
    addresses: list[str] = []
    resolved: Deferred[list[str]] = Deferred()
    try:
        host.encode("idna")
    except UnicodeError:  # Twisted's resolver would log it and never say anything
        resolved.errback(Failure(DNSLookupError(f"{host!r} cannot be a host's name")))
        return resolved

    @implementer(IResolutionReceiver)
    class _Receiver:
        def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
            pass

        def addressResolved(self, address: IAddress) -> None:
            addresses.append(address.host)  # type: ignore[attr-defined]

        def resolutionComplete(self) -> None:
            if resolved.called:  # cancelled
                return
            if addresses:
                resolved.callback(addresses)
            else:
                resolved.errback(Failure(DNSLookupError(f"no address was found for the name {host!r}")))

    reactor.nameResolver.resolveHostName(_Receiver(), host, portNumber=port)
    return resolved
