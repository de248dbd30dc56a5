"""Decoding holds no more memory than what has come allows, and takes steps in proportion to it."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.guard import counted as steps
from tests.fuzz.measures import peak_bytes
from tests.fuzz.mutations import mutated
from tests.fuzz.packed import merged, packed_entries, packed_records, packed_sessions, stored
from tests.wire.examples import CONFIGURATION, EXAMPLES, LAYOUTS, STORE_A, Example
from twistedkv.clustermap import ClusterMap, Server, ServerState
from twistedkv.columns import decode_column, encode_column
from twistedkv.core.entries import decode_entries
from twistedkv.errors import ProtocolError
from twistedkv.limits import FRAME_BYTES_MAX, KEYS_MAX
from twistedkv.messages.client import GetMany, MapUpdate, PutMany, ScanItem, ScanPage
from twistedkv.messages.coordinator import Heartbeat, ReplicaRole, ShardReport
from twistedkv.messages.peer import Ack, Refusal, RefusedSection, Replicate, Section
from twistedkv.wire import client, coordinator, peer
from twistedkv.wire.fields import Layout
from twistedkv.wire.frames import HEADER_BYTES, FrameDecoder, encode_frame

KIB = 1024
SMALL_BYTES = 32 * KIB
"""What may be held for an input that is itself small: errors, buffers, the interpreter's own."""
BYTES_PER_BYTE = 16
"""Memory of a decoded message for each of its bytes, at most: numbers, lists and objects are larger than their form."""
BYTES_PER_STRING = 128
"""The same for each string of a column, however short it is."""
STEPS_PER_BYTE = 30
STEPS_FIXED = 2_000


def decoded(layout: Layout[Any], body: bytes) -> None:
    """Decode, whatever comes of it."""
    with contextlib.suppress(ProtocolError):
        layout.decode(body)


# Frames.


def test_a_frame_that_is_announced_costs_nothing_until_it_comes() -> None:
    header = encode_frame(1, b"")[:8] + FRAME_BYTES_MAX.to_bytes(4, "big")
    decoder = FrameDecoder()
    assert peak_bytes(lambda: decoder.feed(header)) < KIB
    pieces = [bytes(KIB)] * 8
    assert peak_bytes(lambda: [decoder.feed(piece) for piece in pieces]) < 16 * KIB


def test_the_largest_frame_is_held_less_than_four_times() -> None:
    frame = encode_frame(1, bytes(FRAME_BYTES_MAX))
    pieces = [frame[start : start + 64 * KIB] for start in range(0, len(frame), 64 * KIB)]
    decoder = FrameDecoder()
    assert peak_bytes(lambda: [decoder.feed(piece) for piece in pieces]) < 4 * FRAME_BYTES_MAX
    assert peak_bytes(lambda: decoder.feed(frame)) < 4 * FRAME_BYTES_MAX


def test_nothing_is_kept_of_the_frames_that_were_given() -> None:
    frame = encode_frame(1, bytes(100 * KIB))
    decoder = FrameDecoder()

    def feed() -> None:
        for start in range(0, len(frame), 10 * KIB):
            decoder.feed(frame[start : start + 10 * KIB])

    feed()
    assert peak_bytes(lambda: [feed() for _ in range(20)]) < 4 * len(frame)
    assert decoder.buffered == 0


@pytest.mark.parametrize("size", [1, 7, HEADER_BYTES + 1, 10_000])
def test_the_steps_for_frames_grow_with_what_comes(size: int) -> None:
    def fed(count: int) -> int:
        stream = encode_frame(1, b"body") * count
        decoder = FrameDecoder()
        return steps(lambda: [decoder.feed(stream[start : start + size]) for start in range(0, len(stream), size)])

    assert fed(200) < 2.2 * fed(100)


def test_a_frame_in_single_bytes_takes_no_more_steps_for_each_byte_than_a_small_one() -> None:
    def fed(body_bytes: int) -> int:
        frame = encode_frame(1, bytes(body_bytes))
        decoder = FrameDecoder()
        return steps(lambda: [decoder.feed(frame[at : at + 1]) for at in range(len(frame))])

    assert fed(2000) < 2.2 * fed(1000)


# Messages.


def claims(body: bytes) -> Iterator[bytes]:
    """The body with a huge number at each place, in each width that lengths and counts have."""
    for width in (1, 2, 4):
        for at in range(len(body) - width + 1):
            yield body[:at] + b"\xff" * width + body[at + width :]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.family}-{e.name}")
def test_what_a_message_claims_costs_nothing(example: Example) -> None:
    layout, body = example.layout, example.frame[HEADER_BYTES:]
    bodies = list(claims(body))
    assert peak_bytes(lambda: [decoded(layout, wrong) for wrong in bodies]) < SMALL_BYTES + BYTES_PER_BYTE * len(body)


@given(st.sampled_from(sorted(LAYOUTS)), mutated([example.frame[HEADER_BYTES:] for example in EXAMPLES]))
def test_what_a_changed_message_costs_is_bounded_by_its_size(which: tuple[str, int], body: bytes) -> None:
    layout = LAYOUTS[which]
    assert peak_bytes(lambda: decoded(layout, body)) < SMALL_BYTES + BYTES_PER_BYTE * len(body)
    assert steps(lambda: decoded(layout, body)) < STEPS_FIXED + STEPS_PER_BYTE * len(body)


def many(count: int) -> dict[str, tuple[Callable[[bytes], object], bytes]]:
    """Of each list that a message or another form can have: who takes it apart, and one with so many items."""
    report = ShardReport(1, 1, ReplicaRole.PRIMARY, 7, 7)
    servers = {n: Server(n, STORE_A, "h", 1, ServerState.ACTIVE) for n in range(1, count % 1000 + 1)}
    messages: list[tuple[Layout[Any], Any]] = [
        (
            client.FAMILY.layouts[client.SCAN_PAGE],
            ScanPage(0, b"", [ScanItem(b"k", 1, b"v") for _ in range(count)]),
        ),
        (
            client.FAMILY.layouts[client.CONFIG_RESP],
            MapUpdate(ClusterMap("c", 1, 2, 1, 200, servers, (CONFIGURATION,) * count)),
        ),
        (
            coordinator.FAMILY.layouts[coordinator.HEARTBEAT],
            Heartbeat(1, STORE_A, 1, 1, 1, 1, [report] * count, []),
        ),
        (peer.FAMILY.layouts[peer.ACK], Ack(1, 1, [RefusedSection(1, Refusal.GAP, 1, 1)] * count)),
        (peer.FAMILY.layouts[peer.REPLICATE], Replicate(1, [Section(1, 1, 1, 1, 0, b"")] * count)),
        (client.FAMILY.layouts[client.PUT_MANY], PutMany(1, 1, 0, 0, [b"k"] * count, [b"v", *[b"vv"] * (count - 1)])),
        (client.FAMILY.layouts[client.GET_MANY], GetMany(0, [b"%d" % n for n in range(count)])),
    ]
    forms: dict[str, tuple[Callable[[bytes], object], bytes]] = {
        layout.label: (layout.decode, layout.encode(message)) for layout, message in messages
    }
    forms["Replicate, by hand"] = (peer.decode_replicate, forms["Replicate"][1])
    forms["PutMany of one size"] = (
        partial(client.decode_request, client.PUT_MANY),
        client.encode_request(PutMany(1, 1, 0, 0, [b"%016x" % n for n in range(count)], [b"v"] * count))[1],
    )
    forms["entries"] = (lambda data: list(decode_entries(data, count)), packed_entries(count))
    forms["records"] = (lambda data: stored(data, count), packed_records(count))
    forms["sessions"] = (merged, packed_sessions(count))
    forms["one session, again and again"] = (merged, packed_sessions(count, clients=1))
    return forms


@pytest.mark.parametrize("name", many(1))
def test_the_steps_for_a_list_grow_with_its_items(name: str) -> None:
    def taken(count: int) -> int:
        take, data = many(count)[name]
        return steps(lambda: take(data))

    fewer = taken(100)
    assert taken(200) < 2.2 * fewer
    assert fewer < STEPS_FIXED + STEPS_PER_BYTE * len(many(100)[name][1])


@pytest.mark.parametrize("name", many(1))
def test_the_memory_for_a_list_grows_with_its_items(name: str) -> None:
    take, data = many(3000)[name]
    gc.collect()
    assert peak_bytes(lambda: take(data)) < SMALL_BYTES + BYTES_PER_BYTE * len(data)


@pytest.mark.parametrize("strings", [[b"v"], [b""], [b"", b"v"]], ids=["of one size", "empty", "of different sizes"])
def test_the_shortest_strings_cost_no_more_than_so_much_each(strings: list[bytes]) -> None:
    """They are smaller than the objects that are made of them, so it is their number that has a bound."""
    many = (strings * KEYS_MAX)[:KEYS_MAX]
    data = encode_column(many)
    assert peak_bytes(lambda: decode_column(data, 0, 0, 1, KEYS_MAX)) < SMALL_BYTES + BYTES_PER_STRING * KEYS_MAX
    with pytest.raises(ProtocolError, match="at most"):
        decode_column(data, 0, 0, 1, KEYS_MAX - 1)


def test_these_measures_see_what_they_measure() -> None:
    assert peak_bytes(lambda: bytes(100 * KIB)) > 100 * KIB

    def quadratic(count: int) -> int:
        return sum(a * b for a in range(count) for b in range(count))

    assert steps(lambda: quadratic(100)) > 3 * steps(lambda: quadratic(50)) > 3 * 50 * 50
