"""What the far ends of a daemon's connections do, in bytes: so that hypothesis, atheris and a kept file say the same.

A script is a row of steps. A step is a byte that says who does what (three bits for the seat, the rest for the deed), a
byte with the length of what follows, and that.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import attrs

from twistedkv.wire.frames import encode_frame

SEATS_MAX = 8
STEPS_MAX = 24


class Deed(IntEnum):
    """What is done at a seat."""

    SAY = 0
    """Send these bytes, whatever they are."""
    FRAME = 1
    """Send a frame: type, request id, and the rest is the body."""
    PHRASE = 2
    """Send a frame that belongs here (the first byte chooses), with changes: (place, how many bytes, byte) each."""
    HALF = 3
    """Send the beginning of such a frame: the second byte says how much is left out."""
    HANG_UP = 4
    """Break the connection. With an odd byte, who dials next is not answered: the script has to say HELLO_REPLY."""
    WAIT = 5
    """Let some time pass, in steps of 20 ms."""


@attrs.frozen
class Step:
    """One of a script."""

    seat: int
    deed: Deed
    payload: bytes = b""


def script_of(data: bytes) -> Iterator[Step]:
    """The steps of a script. Any bytes are one; what is cut off is as long as it is."""
    offset = 0
    for _ in range(STEPS_MAX):
        if offset >= len(data):
            return
        first = data[offset]
        length = data[offset + 1] if offset + 1 < len(data) else 0
        payload = data[offset + 2 : offset + 2 + length]
        yield Step(first % SEATS_MAX, Deed(first // SEATS_MAX % len(Deed)), payload)
        offset += 2 + length


def data_of(steps: list[Step]) -> bytes:
    """The bytes of a script."""
    return b"".join(bytes([step.seat | step.deed * SEATS_MAX, len(step.payload)]) + step.payload for step in steps)


def bytes_said(step: Step, phrases: list[bytes]) -> bytes:
    """What goes over the connection in a step."""
    payload = step.payload
    if step.deed is Deed.SAY or not payload:
        return payload
    if step.deed is Deed.FRAME:
        return encode_frame(payload[0], payload[2:], payload[1] if len(payload) > 1 else 0)
    frame = bytearray(phrases[payload[0] % len(phrases)])
    if step.deed is Deed.HALF:
        left_out = 1 + payload[1] % len(frame) if len(payload) > 1 else len(frame) // 2
        return bytes(frame[: len(frame) - left_out])
    for place, count, byte in zip(payload[1::3], payload[2::3], payload[3::3], strict=False):
        for at in range(place % len(frame), min(place % len(frame) + 1 + count % 8, len(frame))):
            frame[at] = byte
    return bytes(frame)
