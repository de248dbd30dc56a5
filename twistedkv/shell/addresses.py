"""Where answers say that servers are: redirects, and the list of a cluster's servers."""

from __future__ import annotations

from typing import NamedTuple

from twistedkv.resp.answers import Answer, ErrorAnswer

_ADDRESSES_MAX = 1000


class Redirect(NamedTuple):
    """What MOVED and ASK say."""

    slot: int
    address: str
    """HOST:PORT."""


def redirect_of(error: ErrorAnswer, asked: str) -> Redirect | None:
    """Where `MOVED slot host:port` (or ASK) of the server at `asked` leads to; None if the text is not understood.

    Without a host it is the host of the server that says so.
    """
    words = error.text.decode("utf-8", "replace").split(" ")
    if len(words) != 3 or not _is_number(words[1]):
        return None
    host, colon, port = words[2].rpartition(":")
    if not colon or not _is_port(port):
        return None
    return Redirect(int(words[1]), f"{host or _host(asked)}:{port}")


def addresses_of(slots: Answer, asked: str) -> list[str]:
    """The servers in an answer of the server at `asked` to CLUSTER SLOTS; none if it is something else."""
    found: dict[str, None] = {}
    for item in slots if isinstance(slots, list) else []:
        for node in item[2:] if isinstance(item, list) else []:
            match node:
                case [(bytes() | None) as host, int(port), *_] if 1 <= port <= 65535:
                    name = (host or b"").decode("utf-8", "replace") or _host(asked)
                    found[f"{name}:{port}"] = None
        if len(found) >= _ADDRESSES_MAX:
            break
    return list(found)


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _is_port(text: str) -> bool:
    return _is_number(text) and 1 <= int(text) <= 65535
