"""What fuzzing has found, said in the fewest words that show it. Whole inputs are kept in `crashers/`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
from twisted.internet.error import DNSLookupError

from tests.fuzz.client_scene import ClientScene
from tests.fuzz.coordinator_scene import CoordinatorScene
from tests.fuzz.scene import framed
from tests.fuzz.server_scene import FOLLOWED, LED, ME, SERVER_MAP, ServerScene
from tests.support.servers import A, Desk, configuration, entry
from tests.support.transport import MemoryNetwork
from tests.wire.examples import CONFIGURATION as EXAMPLE
from twistedkv import failpoints
from twistedkv.cli import arguments
from twistedkv.client.arguments import parse_addresses
from twistedkv.client.dialing import connect
from twistedkv.client.journal import _decode
from twistedkv.core.dedup import DedupTable
from twistedkv.core.entries import decode_entries, encode_entry, encode_records
from twistedkv.core.handshake import make_hello
from twistedkv.errors import (
    ConfigurationError,
    InvalidRequest,
    OperationError,
    ProtocolError,
    Status,
)
from twistedkv.limits import (
    EPOCH_MAX,
    FILL_CHUNK_BYTES,
    FRAME_BYTES_MAX,
    KEY_BYTES_MAX,
    REPLY_BYTES_MAX,
    SHARDS_MAX,
    SLOTS,
)
from twistedkv.mapstore.sqlite import SqliteMapStore
from twistedkv.messages.client import MapUpdate, Result, ScanPage
from twistedkv.messages.coordinator import AdminReply, AdminRequest, Sealed, StartedReply
from twistedkv.messages.hello import Role
from twistedkv.messages.peer import (
    Ack,
    Configure,
    FillChunk,
    FillSessions,
    Refusal,
    RefusedSection,
    Replicate,
    Section,
)
from twistedkv.records import make_record, version_of
from twistedkv.service import config, knobs
from twistedkv.wire import client as client_wire
from twistedkv.wire import coordinator as coordinator_wire
from twistedkv.wire import peer as peer_wire
from twistedkv.wire.client import SCAN_PAGE
from twistedkv.wire.frames import encode_frame
from twistedkv.wire.shared import CONFIGURATION

DIGITS = "1" * 5000
"""More than Python makes a number of."""


# Bounds that the tables did not have.


@pytest.mark.parametrize(
    "changes",
    [
        {"last_slot": SLOTS},
        {"first_slot": 7, "last_slot": 6},
        {"epoch": EPOCH_MAX + 1},
        {"birth": EPOCH_MAX + 1},
        {"shard": SHARDS_MAX},
    ],
)
def test_a_configuration_out_of_bounds_is_refused(changes: dict[str, int]) -> None:
    """A server took the slots of one for places in its store, and its epoch for 22 bits of a version."""
    body = CONFIGURATION.encode(attrs.evolve(EXAMPLE, **changes))
    with pytest.raises(ProtocolError, match="Configuration"):
        CONFIGURATION.decode(body)


def test_a_configuration_at_its_bounds_passes() -> None:
    bounds = attrs.evolve(EXAMPLE, shard=SHARDS_MAX - 1, first_slot=SLOTS - 1, last_slot=SLOTS - 1, epoch=EPOCH_MAX)
    assert CONFIGURATION.decode(CONFIGURATION.encode(bounds)) == bounds


@pytest.mark.parametrize("key", [b"", bytes(KEY_BYTES_MAX + 1)])
def test_a_key_out_of_bounds_is_not_replicated(key: bytes) -> None:
    """No page of a SCAN could hold it: every client that came by it lost its connection."""
    with pytest.raises(ProtocolError):
        list(decode_entries(entry(version_of(3, 1), key, b"v"), 1))
    desk = filling()
    record = make_record(version_of(3, 1), 0, b"v")
    packed = encode_records([key], [record])
    with pytest.raises(ProtocolError):
        desk.core.fill_received(FillChunk(0, 7, 1, 1, packed))


def filling() -> Desk:
    """A learner that takes part in a fill."""
    desk = Desk()
    desk.adopt(configuration(3, A, (), (desk.core.me,), birth=1))
    desk.replica.fill = 7
    return desk


@pytest.mark.parametrize("size", [256, REPLY_BYTES_MAX])
def test_a_reply_of_any_size_that_is_replicated_can_be_packed(size: int) -> None:
    """The table of executed writes had one byte for the length of a sum: the next fill of a learner failed."""
    [found] = decode_entries(entry(version_of(3, 1), b"k", b"v", 1, reply=bytes(size)), 1)
    table, other = DedupTable(), DedupTable()
    table.remember(b"c" * 16, 1, 1, 1, (version_of(3, 1), found[7]))
    for piece in table.pack(FILL_CHUNK_BYTES):
        assert len(peer_wire.FAMILY.encode(FillSessions(0, 1, 1, piece))[1]) <= FRAME_BYTES_MAX
        other.merge(piece)
    assert other.find(b"c" * 16, 1, 0, True) == (version_of(3, 1), bytes(size))


def test_an_entry_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ProtocolError):
        list(decode_entries(encode_entry(1, b"k", make_record(version_of(3, 1), 0, b"1"), 2, 1, 1, bytes(16), b""), 1))


def test_a_replicate_has_no_more_sections_than_its_table_allows() -> None:
    sections = [Section(0, 1, 0, 1, 0, b"")] * (SHARDS_MAX + 1)
    body = peer_wire.encode_replicate(Replicate(1, sections))
    with pytest.raises(ProtocolError):
        peer_wire.decode_replicate(body)


# Answers that are none.


@pytest.fixture
def server() -> Iterator[ServerScene]:
    scene = ServerScene()
    yield scene
    scene.check()
    scene.close()


def test_a_follower_cannot_be_further_than_its_primary(server: ServerScene) -> None:
    """It was sent a section that began after the last sequence that 64 bits can say: the whole turn failed."""
    end = server.end_at("follower")
    end.say(framed(peer_wire.FAMILY, Ack(0, 0, [])))
    server.pass_time(0.25)  # there is a frame on its way that nobody acknowledges
    refusal = RefusedSection(LED, Refusal.GAP, 2, (1 << 64) - 1)
    end.say(framed(peer_wire.FAMILY, Ack(1 << 40, 1 << 40, [refusal])))
    server.pass_time(0.5)


@pytest.mark.parametrize("epoch", [EPOCH_MAX + 1, (1 << 32) - 1])
def test_an_epoch_that_no_version_can_have_ends_the_connection(server: ServerScene, epoch: int) -> None:
    end = server.end_at("peer")
    end.say(framed(peer_wire.FAMILY, Configure(attrs.evolve(SERVER_MAP.shards[FOLLOWED], epoch=epoch))))
    server.pass_time(0.5)
    assert not end.open


@pytest.mark.parametrize("answer", [Result(0, 0, b""), StartedReply(0, ME, 0, "")])
def test_what_is_no_answer_to_a_registration_ends_the_connection(server: ServerScene, answer: Any) -> None:
    """With a heartbeat of 0 a server did nothing but beat."""
    server.end_at("coordinator").hang_up()
    server.pass_time(0.1)
    end = server.end_at("coordinator")
    end.say(framed(coordinator_wire.FAMILY, answer, 1))
    server.network.settle()
    assert not end.open


@pytest.fixture
def answers() -> Iterator[ClientScene]:
    scene = ClientScene()
    yield scene
    scene.check()
    scene.close()


def test_a_page_is_no_answer_to_a_write_and_a_result_none_to_a_scan(answers: ClientScene) -> None:
    """A PUT was told that it was done, and SCAN gave a number for a page."""
    requests = {}
    for seat in ("first", "second"):
        end = answers.end_at(seat)
        requests[seat] = {kind: request_id for kind, _, request_id, _ in end.frames}
    page = client_wire.FAMILY.layouts[SCAN_PAGE].encode(ScanPage(8192, b"", []))
    first, second = answers.end_at("first"), answers.end_at("second")
    first.say(encode_frame(SCAN_PAGE, page, requests["first"][client_wire.PUT]))
    second.say(framed(client_wire.FAMILY, Result(0, 7, b""), requests["second"][client_wire.SCAN]))
    answers.network.settle()
    assert not first.open
    assert not second.open


def test_a_map_is_no_answer_to_a_verify(answers: ClientScene) -> None:
    """The request was taken for answered, and whoever waited for it waited for ever: it was in no queue any more."""
    end = answers.end_at("second")
    request_id = next(request_id for kind, _, request_id, _ in end.frames if kind == client_wire.VERIFY)
    end.say(framed(client_wire.FAMILY, MapUpdate(answers.map), request_id))
    answers.network.settle()
    assert not end.open


@pytest.mark.parametrize(
    "reply",
    [
        Result(99, 0, b""),
        AdminReply(99, b"{}"),
        AdminReply(0, b"[" * 100_000),
        AdminReply(0, b"[1]"),
        AdminReply(0, DIGITS.encode()),
    ],
)
def test_a_strange_answer_to_a_command_is_our_error(reply: Any) -> None:
    with pytest.raises(OperationError):
        _decode("status", reply)


@pytest.mark.parametrize("events", ["7", "[7]", '[{"number": "x"}]', '[{"number": 1e999}]', "null", "{}"])
def test_events_that_are_none_end_what_follows_them(answers: ClientScene, events: str) -> None:
    end = answers.end_at("coordinator")
    request_id = next(
        request_id for kind, _, request_id, body in end.frames if kind == coordinator_wire.ADMIN and b"journal" in body
    )
    reply = AdminReply(0, f'{{"events": {events}}}'.encode())
    end.say(framed(coordinator_wire.FAMILY, reply, request_id))
    answers.network.settle()
    [failure] = answers.outcomes["follow"]
    assert failure.check(OperationError)


@pytest.mark.parametrize("host", ["a" * 64, "x..y"])
def test_a_host_that_has_no_name_that_could_be_cannot_be_connected(host: str) -> None:
    """The resolver logged an error of its own, and whoever waited for it waited for ever."""
    dialing = connect(MemoryNetwork(), host, 7400, make_hello(Role.CLIENT, "", 0, bytes(16)), lambda *_: None)  # type: ignore[arg-type,return-value]
    failures: list[Any] = []
    dialing.addErrback(failures.append)
    assert failures[0].check(DNSLookupError)


# Operators.


@pytest.fixture
def coordinator() -> Iterator[CoordinatorScene]:
    scene = CoordinatorScene()
    yield scene
    scene.check()
    scene.close()


@pytest.mark.parametrize("number", ["²", DIGITS, "٣" * 5000])
@pytest.mark.parametrize("command", ["switch", "dump", "accept-loss"])
def test_digits_that_are_no_number_are_refused(coordinator: CoordinatorScene, command: str, number: str) -> None:
    assert ask(coordinator, {"command": command, "shard": number, "server": number})["status"] is Status.INVALID_REQUEST


def ask(scene: CoordinatorScene, command: dict[str, Any]) -> dict[str, Any]:
    """The answer to an operator's command, with its status."""
    end = scene.end_at("operator")
    end.say(framed(coordinator_wire.FAMILY, AdminRequest(json.dumps(command).encode()), 77))
    scene.network.settle()
    [body] = [body for kind, _, request_id, body in end.frames if request_id == 77]
    reply = coordinator_wire.FAMILY.decode(coordinator_wire.ADMIN_REPLY, body)
    return {**json.loads(reply.json), "status": Status(reply.status)}


def test_the_journal_has_no_events_after_what_a_row_can_be_numbered(
    coordinator: CoordinatorScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteMapStore(tmp_path / "map.sqlite")
    monkeypatch.setattr(coordinator.coordination.service.store, "journal", store.journal)
    answer = ask(coordinator, {"command": "journal", "after": 1 << 63})
    assert answer["status"] is Status.INVALID_REQUEST
    assert ask_events(coordinator, (1 << 63) - 1) == []
    store.close()


def ask_events(scene: CoordinatorScene, after: int) -> Any:
    scene.end_at("operator").hang_up()
    scene.network.settle()
    return ask(scene, {"command": "journal", "after": after})["events"]


def test_a_server_that_answers_a_dump_with_something_else_is_reported(coordinator: CoordinatorScene) -> None:
    """The operator had no answer at all."""
    end = coordinator.end_at("operator")
    command = AdminRequest(json.dumps({"command": "dump", "server": coordinator.bad.server_id}).encode())
    end.say(framed(coordinator_wire.FAMILY, command, 77))
    coordinator.network.settle()
    session = coordinator.coordination.service.connections.servers[coordinator.bad.server_id]
    for request_id in list(session.calls._waiting):
        coordinator.end_at("member").say(framed(coordinator_wire.FAMILY, Sealed(0, 1, 0, False), request_id))
    coordinator.network.settle()
    [body] = [body for _, _, request_id, body in end.frames if request_id == 77]
    assert coordinator_wire.FAMILY.decode(coordinator_wire.ADMIN_REPLY, body).status == Status.SERVER_FAILURE


# Options and arguments.


def test_a_home_that_nobody_has_is_no_path() -> None:
    with pytest.raises(ConfigurationError, match="base-dir"):
        config.cluster_options({"base-dir": "~nobody-of-this-name/data"})


def test_a_file_of_options_that_is_too_deep_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "options.toml"
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        knobs.read_file(path, config.COORDINATOR_KNOBS)


@pytest.mark.parametrize("parse", [arguments.server_id, arguments.expected_version])
def test_an_argument_with_more_digits_than_python_reads_is_a_mistake(parse: Any) -> None:
    with pytest.raises(click.UsageError):
        parse(DIGITS)


def test_a_port_with_more_digits_than_python_reads_is_a_mistake() -> None:
    with pytest.raises(InvalidRequest):
        parse_addresses(f"host:{DIGITS}")


def test_a_count_of_a_failpoint_is_a_number() -> None:
    with pytest.raises(ConfigurationError):
        failpoints.parse(f"{failpoints.NAMES[0]}:kill:S_a:²")
