"""The coordinator family: what it shares with the client family is the same there."""

from __future__ import annotations

import pytest

from twistedkv.errors import ProtocolError
from twistedkv.limits import JSON_BYTES_MAX
from twistedkv.messages.coordinator import AdminRequest
from twistedkv.wire import client, peer
from twistedkv.wire.coordinator import FAMILY


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


def test_json_is_bounded() -> None:
    with pytest.raises(ProtocolError, match="at most"):
        FAMILY.encode(AdminRequest(bytes(JSON_BYTES_MAX + 1)))
