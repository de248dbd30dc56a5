"""Every decoder against seeds, changed seeds, any bytes, and what has failed before; and none is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import LoggedErrors
from tests.fuzz.client_scene import check_client
from tests.fuzz.coordinator_scene import check_coordinator
from tests.fuzz.enumerated import OUTSIDE, decoders, functions
from tests.fuzz.mutations import anything, mutated, scripts
from tests.fuzz.scripts import Deed, Step, data_of
from tests.fuzz.server_scene import SERVER_PHRASES, ServerScene, check_server
from tests.fuzz.targets import CRASHERS, TARGETS, Target
from tests.fuzz.wire import check_cuts, cut, message_seeds, read
from tests.support.transport import random_pieces
from tests.wire.examples import EXAMPLES, LAYOUTS
from twistedkv.errors import ProtocolError
from twistedkv.limits import FRAME_BYTES_MAX
from twistedkv.net.client import ClientSession
from twistedkv.net.framed import Connection
from twistedkv.net.peer import PeerReceiver
from twistedkv.wire import client, coordinator, fields, peer, shared
from twistedkv.wire.frames import Frame, FrameDecoder, encode_frame

every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
ALL = sorted({family for family, _ in LAYOUTS})
SCENES = {"server": check_server, "daemon": check_coordinator, "answers": check_client}


@pytest.fixture
def quiet(logged_errors: LoggedErrors) -> Any:
    """Takes sentences for the operator out of the log; failures are seen to by the scenes themselves."""
    yield
    logged_errors.events[:] = [event for event in logged_errors.events if "log_failure" in event]


@every_target
def test_what_an_input_begins_with_is_good(target: Target, quiet: None) -> None:
    for seed in target.seeds():
        target.check(seed)


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in SCENES])
def test_whatever_comes_nothing_but_our_error_is_raised_and_what_is_read_can_be_written(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=4 * settings().max_examples)
    @given(anything(target.seeds()))
    def check(data: bytes) -> None:
        target.check(data)

    check()


@pytest.mark.parametrize("name", SCENES)
def test_whatever_is_said_to_a_daemon_it_goes_on(name: str, quiet: None) -> None:
    @settings(max_examples=2 * settings().max_examples)
    @given(scripts)
    def check(data: bytes) -> None:
        SCENES[name](data)

    check()


@given(
    st.lists(mutated([example.frame for example in EXAMPLES]), max_size=5), st.lists(st.binary(max_size=6), max_size=3)
)
def test_frames_of_all_families_in_any_pieces(frames: list[bytes], sizes: list[bytes]) -> None:
    stream = b"".join(frames)
    check_cuts(stream, [[stream], *(cut(stream, each) for each in sizes)])


@settings(max_examples=max(1, settings().max_examples // 5))
@given(st.lists(mutated(SERVER_PHRASES["client"]), min_size=1, max_size=6), st.integers(0, 1 << 16))
def test_a_client_is_answered_the_same_however_its_bytes_come(frames: list[bytes], seed: int) -> None:
    """But for what is lost with a frame that ends the connection: then nothing more is answered than without it."""
    stream = b"".join(frames)
    answers = [answered(stream, pieces) for pieces in (lambda: 1, random_pieces(seed, 40), lambda: None)]
    is_open, all_of_them = answers[0]
    if not is_open:
        good = read([stream[at : at + 1] for at in range(len(stream))], FRAME_BYTES_MAX).frames
        whole = b"".join(encode_frame(kind, body, request_id, flags) for kind, flags, request_id, body in good)
        _, all_of_them = answered(whole, lambda: None)
    for still_open, found in answers:
        assert still_open == is_open
        assert found == all_of_them if is_open else set(found) <= set(all_of_them)


def answered(stream: bytes, pieces: Callable[[], int | None]) -> tuple[bool, list[Frame]]:
    """Whether a client that says this is still connected then, and what it has been answered."""
    scene = ServerScene(pieces)
    scene.end_at("client").say(stream)
    scene.pass_time(0.2)
    end = scene.ends["client"]
    found = end.open, sorted(end.frames[1:])
    scene.check()
    scene.close()
    return found


@pytest.mark.parametrize("family", [client.FAMILY, peer.FAMILY, coordinator.FAMILY], ids=lambda family: family.name)
def test_a_message_of_one_family_is_none_of_another(family: fields.Family) -> None:
    strangers = [seed for other in ALL for seed in message_seeds(other) if seed[0] not in family.layouts]
    assert strangers
    for seed in strangers:
        with pytest.raises(ProtocolError, match=family.name):
            family.decode(seed[0], seed[1:])
        for number in family.layouts:
            TARGETS[family.name].check(bytes([number]) + seed[1:])


@pytest.mark.parametrize("path", sorted(CRASHERS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_has_failed_once_does_not_fail_again(path: Path, quiet: None) -> None:
    TARGETS[path.parent.name].check(path.read_bytes())


# None is forgotten.


def test_every_decoder_has_a_target() -> None:
    covered = {name for target in TARGETS.values() for name in target.covers}
    assert decoders() <= covered, "add it to the `covers` of a target that reaches it, or to `enumerated.OUTSIDE`"
    assert covered <= set(functions()), "it is not there any more"


def test_what_is_outside_is_there() -> None:
    assert all(any(f"{name}.".startswith(f"{outside}.") for name in functions()) for outside in OUTSIDE)


def test_every_message_of_every_family_is_a_seed() -> None:
    families = {
        value.name
        for module in (client, peer, coordinator)
        for value in vars(module).values()
        if isinstance(value, fields.Family)
    }
    assert {"opening", *families} == {family for family, _ in LAYOUTS}
    seeded = {(family, seed[0]) for family in {"opening", *families} for seed in TARGETS[family].seeds()}
    assert seeded | {("coordinator", client.CONFIG_RESP)} == set(LAYOUTS)


def test_every_layout_is_part_of_a_message() -> None:
    within: set[int] = set()

    def walk(field: Any) -> None:
        within.add(id(field))
        for inner in [getattr(field, "_item", None), getattr(field, "_many", None)]:
            if inner is not None:
                walk(inner)
        for _, inner in getattr(field, "fields", ()):
            walk(inner)

    for layout in LAYOUTS.values():
        walk(layout)
    for module in (client, peer, coordinator, shared):
        for name, value in vars(module).items():
            assert not isinstance(value, fields.Layout) or id(value) in within, name


def wrong_feeds() -> dict[str, Callable[[FrameDecoder, bytes], list[Frame]]]:
    """Decoders that are wrong on purpose."""
    feed = FrameDecoder.feed

    def forgets(self: FrameDecoder, data: bytes) -> list[Frame]:
        return feed(FrameDecoder(), data)

    def hoards(self: FrameDecoder, data: bytes) -> list[Frame]:
        frames = feed(self, data)
        self._buffer += data
        return frames

    def raises_another_error(self: FrameDecoder, data: bytes) -> list[Frame]:
        try:
            return feed(self, data)
        except ProtocolError as error:
            raise ValueError(str(error)) from None

    def gives_up_late(self: FrameDecoder, data: bytes) -> list[Frame]:
        try:
            return feed(self, data)
        except ProtocolError:
            if len(data) > 1:
                return []
            raise

    return {each.__name__: each for each in (forgets, hoards, raises_another_error, gives_up_late)}


@pytest.mark.parametrize("name", wrong_feeds())
def test_these_checks_see_a_decoder_that_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FrameDecoder, "feed", wrong_feeds()[name])
    with pytest.raises((AssertionError, ValueError)):
        for seed in TARGETS["frames"].seeds():
            TARGETS["frames"].check(seed)


@pytest.mark.parametrize(("seat", "session"), [("client", ClientSession), ("peer", PeerReceiver)])
def test_these_checks_see_a_session_that_is_wrong(seat: str, session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Any, frames: list[Frame]) -> None:
        raise ValueError(frames)

    monkeypatch.setattr(session, "frames_received", fails)
    with pytest.raises(ValueError, match=r"\[\("):
        check_server(data_of([Step(ServerScene.seats.index(seat), Deed.PHRASE, b"\x01")]))


def test_these_checks_see_a_connection_that_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "abort", lambda self: None)
    with pytest.raises(AssertionError, match="transfer"):
        check_server(data_of([Step(ServerScene.seats.index("transfer"), Deed.SAY, bytes(20))]))
