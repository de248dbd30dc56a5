"""The coordinator family: what it shares with the client family is the same there."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import mutated
from tests.fuzz.wire import without_numbers
from tests.support.strategies import of_layout
from twistedkv.clustermap import Member
from twistedkv.errors import ProtocolError
from twistedkv.limits import JSON_BYTES_MAX
from twistedkv.messages.coordinator import AdminRequest, FillReport, Heartbeat, ReplicaRole, ShardReport, Usage
from twistedkv.watermarks import Level
from twistedkv.wire import client, peer
from twistedkv.wire.coordinator import FAMILY, HEARTBEAT, HeartbeatDecoder


def test_shared_messages_have_one_number_and_one_form() -> None:
    for number in (client.RESULT, client.CONFIG_RESP):
        here, there = FAMILY.layouts[number], client.FAMILY.layouts[number]
        assert here.kind is there.kind
        assert [(name, field.label) for name, field in here.fields] == [
            (name, field.label) for name, field in there.fields
        ]


def test_the_numbers_of_the_families_are_apart() -> None:
    shared = {client.RESULT, client.CONFIG_RESP}
    numbers = [set(client.FAMILY.layouts), set(peer.FAMILY.layouts), set(FAMILY.layouts) - shared]
    assert len(set.union(*numbers)) == sum(map(len, numbers))
    assert not set.union(*numbers) & {0x01, 0x02}  # HELLO and HELLO_REPLY


@given(st.lists(of_layout(FAMILY.layouts[HEARTBEAT]), min_size=1, max_size=3), st.data())
def test_each_of_many_heartbeats_is_what_its_table_says(shapes: list[Heartbeat], data: st.DataObject) -> None:
    """But for the numbers of updates, which are those of one of the heartbeats before it, and not long before."""
    decoder, layout = HeartbeatDecoder(), FAMILY.layouts[HEARTBEAT]
    numbers: list[list[tuple[int, int]]] = []
    for beat in range(1, 15):
        shape = data.draw(st.sampled_from(shapes))
        reports = [attrs.evolve(each, last=each.last ^ beat, commit=beat) for each in shape.reports]
        sent = attrs.evolve(shape, beat=beat, server_id=3, reports=reports)
        body = layout.encode(sent)
        found = decoder.decode(body)
        assert without_numbers(found) == without_numbers(sent)
        numbers.append([(each.last, each.commit) for each in reports])
        assert [(each.last, each.commit) for each in found.reports] in numbers[-HeartbeatDecoder.NUMBERS_BEATS :]
        for wrong in (body[:-1], body + b"\0", body[:40]):
            with pytest.raises(ProtocolError):
                decoder.decode(wrong)


def test_a_heartbeat_that_says_the_same_has_the_list_of_the_one_before() -> None:
    decoder, layout = HeartbeatDecoder(), FAMILY.layouts[HEARTBEAT]
    report = ShardReport(3, 7, ReplicaRole.SECONDARY, 40, 40)
    lists = []
    for beat, role in enumerate([ReplicaRole.SECONDARY] * 3 + [ReplicaRole.SEALED] * 2):
        sent = Heartbeat(1, bytes(16), beat, 7, 8, 9, [attrs.evolve(report, role=role)], [])
        lists.append(decoder.decode(layout.encode(sent)).reports)
    assert lists[0] is lists[1] is lists[2] is not lists[3] is lists[4]
    assert [each[0].role for each in lists] == [ReplicaRole.SECONDARY] * 3 + [ReplicaRole.SEALED] * 2


def test_how_full_a_server_is_does_not_make_its_list_another() -> None:
    decoder, layout = HeartbeatDecoder(), FAMILY.layouts[HEARTBEAT]
    report = ShardReport(3, 7, ReplicaRole.SECONDARY, 40, 40, 100)
    usages = [Usage(), Usage(1, 2, 3, 4, -5, 6, Level.LOW), Usage(1, 2, 3, 4, -5, 6, Level.LOW, evicts=True), Usage(9)]
    found = [
        decoder.decode(layout.encode(Heartbeat(1, bytes(16), beat, 7, 8, 9, [report], [], usage)))
        for beat, usage in enumerate(usages)
    ]
    assert [each.usage for each in found] == usages
    assert all(each.reports is found[0].reports for each in found)


@pytest.mark.parametrize(("place", "value"), [(-2, 3), (-1, 2)])
def test_a_level_that_does_not_exist_is_refused(place: int, value: int) -> None:
    decoder, layout = HeartbeatDecoder(), FAMILY.layouts[HEARTBEAT]
    body = bytearray(layout.encode(Heartbeat(1, bytes(16), 1, 7, 8, 9, [], [])))
    decoder.decode(bytes(body))
    body[place] = value
    with pytest.raises(ProtocolError):
        decoder.decode(bytes(body))


def test_the_fills_of_a_heartbeat_come_with_a_list_of_reports_that_nobody_has_seen() -> None:
    decoder, layout = HeartbeatDecoder(), FAMILY.layouts[HEARTBEAT]
    report = ShardReport(3, 7, ReplicaRole.PRIMARY, 40, 40)
    fill = FillReport(3, Member(2, bytes(16)), 1, 2, 3)
    lists = []
    for beat, fills in enumerate(([], [], [fill], [fill], [])):
        found = decoder.decode(layout.encode(Heartbeat(1, bytes(16), beat, 7, 8, 9, [report], fills)))
        assert found.fills == fills
        lists.append(found.reports)
    assert lists[0] is lists[1] is not lists[2] is not lists[3] is lists[4]


def _values(reports: list[ShardReport]) -> list[tuple[Any, ...]]:
    """As they are now."""
    return [attrs.astuple(report) for report in reports]


_BODIES = st.lists(of_layout(FAMILY.layouts[HEARTBEAT]), min_size=1, max_size=2).map(
    lambda shapes: [FAMILY.encode(shape)[1] for shape in shapes]
)


@given(st.data())
def test_whatever_came_before_bytes_are_taken_and_refused_as_by_the_table(data: st.DataObject) -> None:
    """Two servers beat in turn; what they say is now and then wrong."""
    bodies = data.draw(_BODIES)
    decoders = [HeartbeatDecoder(), HeartbeatDecoder()]
    lists: list[list[ShardReport]] = [[], []]
    for _ in range(12):
        body = data.draw(st.one_of(st.sampled_from(bodies), mutated(bodies)))
        which = data.draw(st.integers(0, 1))
        try:
            expected = FAMILY.decode(HEARTBEAT, body)
        except ProtocolError:
            with pytest.raises(ProtocolError):
                decoders[which].decode(body)
            continue
        other = _values(lists[1 - which])
        found = decoders[which].decode(body)
        assert without_numbers(found) == without_numbers(expected)
        assert found.reports is not lists[1 - which]
        assert _values(lists[1 - which]) == other, "the numbers of another server"
        lists[which] = found.reports


def test_json_is_bounded() -> None:
    with pytest.raises(ProtocolError, match="at most"):
        FAMILY.encode(AdminRequest(bytes(JSON_BYTES_MAX + 1)))
