"""Whole daemons, and the client, whose connections are played by the test (`scripts`).

What has to hold, whatever is said on some connections: no error but ours is raised or logged; a connection on which
nonsense was said is closed; and the daemon goes on serving the others.
"""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from typing import Any

from tests.fuzz.scripts import Deed, Step, bytes_said, data_of, script_of
from tests.fuzz.seats import FarEnd, LoggedFailures, refused
from tests.support.transport import MemoryNetwork
from twistedkv.wire.fields import Family
from twistedkv.wire.frames import Frame, encode_frame

STORES = {server_id: bytes([server_id]) * 16 for server_id in range(1, 4)}
WAIT_SECONDS_MAX = 0.4


def framed(family: Family, message: Any, request_id: int = 0, flags: int = 0) -> bytes:
    """A message as a frame."""
    message_type, body = family.encode(message)
    return encode_frame(message_type, body, request_id, flags)


class Scene(ABC):
    """A daemon, and all who talk to it."""

    seats: tuple[str, ...]

    def __init__(self) -> None:
        self.network: MemoryNetwork
        self.ends: dict[str, FarEnd] = {}
        """The connection of each seat, as it is now."""
        self.withheld: set[str] = set()
        """Seats at which HELLO is not answered."""

    def play(self, steps: list[Step]) -> None:
        """Do all of it, and see what has to hold after each step."""
        for step in steps:
            seat = self.seats[step.seat % len(self.seats)]
            if step.deed is Deed.WAIT:
                self.pass_time(min(0.02 * (step.payload[0] if step.payload else 1), WAIT_SECONDS_MAX))
            elif step.deed is Deed.HANG_UP:
                self.end_at(seat).hang_up()
                odd = bool(step.payload and step.payload[0] % 2)
                (self.withheld.add if odd else self.withheld.discard)(seat)
            else:
                self.end_at(seat).say(bytes_said(step, self.phrases(seat)))
            self.network.settle()
            end = self.ends.get(seat)
            if end is not None and end.open:
                assert not refused(end, lambda frame, seat=seat: self.decode(seat, frame)), seat  # type: ignore[misc]

    def end_at(self, seat: str) -> FarEnd:
        """The connection of a seat, a new one if it was closed and the far end is who dials."""
        end = self.ends.get(seat)
        if end is None or not end.open:
            self.reopen(seat)
            end = self.ends.get(seat)
        return end if end is not None else FarEnd()

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.network.pump_seconds(seconds, 0.02)

    @abstractmethod
    def reopen(self, seat: str) -> None:
        """Make a new connection for a seat, if it is for the far end to do."""

    @abstractmethod
    def phrases(self, seat: str) -> list[bytes]:
        """Frames that belong there."""

    @abstractmethod
    def decode(self, seat: str, frame: Frame) -> object:
        """Raise ProtocolError for a frame that must end the seat's connection."""

    @abstractmethod
    def check(self) -> None:
        """See that others are still served."""

    @abstractmethod
    def close(self) -> None:
        """End everything."""


def check_scene(scene_type: type[Scene], data: bytes) -> None:
    """Play a script, and see that what has to hold does."""
    with LoggedFailures() as failures:
        scene = scene_type()
        scene.play(list(script_of(data)))
        failures.check()
        scene.check()
        scene.close()
        del scene
        gc.collect()
        failures.check()


def seeds(scene_type: type[Scene]) -> list[bytes]:
    """Each phrase of each seat by itself, and one script in which everybody says something."""
    scene = scene_type()
    single = [
        Step(number, Deed.PHRASE, bytes([which]))
        for number, seat in enumerate(scene.seats)
        for which in range(len(scene.phrases(seat)))
    ]
    scene.close()
    everybody = [Step(number, deed, b"\x00") for deed in Deed for number in range(len(scene_type.seats))]
    return [*(data_of([step, Step(0, Deed.WAIT, b"\x05")]) for step in single), data_of(everybody)]
