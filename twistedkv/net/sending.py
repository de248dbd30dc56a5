"""Sending at once.

Twisted's `write` waits for the next turn of the reactor: it asks to be told when the socket takes data, which costs two
system calls and a turn, and nearly always the answer is: now. So what there is to send is given to the socket directly
if nothing waits before it; what the socket does not take, and every error, is left to the transport.

This is the one place that looks into a Twisted transport. What it needs of it is checked by tests/net/test_sending.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.tcp import Connection as TCPConnection


def sender(transport: Any) -> Callable[[bytes], None]:
    """As `transport.write`, but at once where that can be."""
    write: Callable[[bytes], None] = transport.write
    if not isinstance(transport, TCPConnection):
        return write
    to_socket: Callable[[bytes], int] = transport.socket.send

    def send(data: bytes) -> None:
        if (
            transport.connected  # it is open, and has sent all that it was given
            and not transport._tempDataBuffer
            and transport.offset == len(transport.dataBuffer)
            and not transport.disconnecting
            and not transport._writeDisconnected
        ):
            try:
                sent = to_socket(data)
            except OSError:  # it is full, or the connection is lost, which the transport will find out itself
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        write(data)

    return send
