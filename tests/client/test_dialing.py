"""Hosts that are given by name."""

from __future__ import annotations

from typing import Any

from tests.client.fakes import FakeCluster
from tests.client.waiting import done
from tests.support.transport import MemoryNetwork
from twistedkv.client import Client


def dialing_address(host: str, port: int) -> Any:
    from twisted.internet.address import IPv4Address

    return IPv4Address("TCP", host, port)


def test_names_are_resolved_and_each_address_is_tried(network: MemoryNetwork, cluster: FakeCluster) -> None:
    class Resolver:
        def resolveHostName(self, receiver: Any, name: str, portNumber: int = 0, **_: Any) -> Any:
            for host in () if name == "nowhere" else ("127.0.0.9", "127.0.0.1"):
                receiver.addressResolved(dialing_address(host, portNumber))
            receiver.resolutionComplete()

    network.nameResolver = Resolver()  # type: ignore[assignment]
    client = Client("somewhere:7400", reactor=network)
    assert done(network, client.put(b"k", b"v"), 1) > 0
    done(network, client.close())
    lost = Client("nowhere:7400", reactor=network)
    assert "no address was found for the name 'nowhere'" in str(done(network, lost.get(b"k", deadline=1), 1.1))
    done(network, lost.close())
