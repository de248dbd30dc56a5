"""A server's connections for fills: one for each fill that is wanted, whatever its number, and none for others."""

from __future__ import annotations

from typing import Any

import pytest

from twistedkv.service.links import Links


class Core:
    def __init__(self) -> None:
        self.fills: list[Any] = []

    def wanted_peers(self) -> dict[Any, None]:
        return {}

    def wanted_fills(self) -> list[Any]:
        return list(self.fills)


class Server:
    def __init__(self) -> None:
        self.core = Core()


class Source:
    fill = 6146
    """Of several shards, in the same epoch."""


class Sender:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_fills_of_two_shards_with_one_number_both_get_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    server: Any = Server()
    links = Links(server)
    dialled: list[Source] = []
    monkeypatch.setattr(links, "_dial_fill", dialled.append)
    first, second = Source(), Source()
    server.core.fills = [first]
    links.adjust()
    assert dialled == [first]
    sender: Any = Sender(first)
    links._fills[first] = sender
    server.core.fills = [first, second]
    links.adjust()
    assert dialled == [first, second]
    assert not sender.closed


def test_a_connection_of_a_fill_that_nobody_wants_is_closed() -> None:
    """Its other end may be gone without a word, and nothing would ever come of it."""
    server: Any = Server()
    links = Links(server)
    sender: Any = Sender(Source())
    links._fills[sender.source] = sender
    links.adjust()
    assert sender.closed
    links.fill_lost(sender)
    assert not links._fills
