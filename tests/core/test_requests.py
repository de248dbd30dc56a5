"""What a server answers by itself, and what it gives to a shard."""

from __future__ import annotations

import pytest

from tests.support.servers import A, Desk, configuration, member, primary
from twistedkv.core.mailbox import Mailbox
from twistedkv.core.requests import Requests
from twistedkv.errors import Status
from twistedkv.messages.client import Get, MapRequest, Noop, Scan, Verify
from twistedkv.wire.client import encode_request
from twistedkv.wire.frames import FrameDecoder


def test_before_any_shard_is_known_nothing_can_be_asked():
    desk = Desk()
    assert isinstance(desk.core, Requests)
    assert desk.status(desk.ask(Get(b"k"))) is Status.NOT_PRIMARY_YET
    assert desk.status(desk.ask(Verify(b"k"))) is Status.WRONG_SERVER
    assert desk.status(desk.ask(Noop())) is Status.SUCCESS


def test_a_part_of_the_map_is_not_given_away():
    desk = Desk()
    desk.hear(configuration(1, A, slots=(0, 99)))
    assert not desk.core.whole
    assert desk.status(desk.ask(MapRequest(False))) is Status.NOT_PRIMARY_YET
    desk.hear(configuration(1, A, slots=(0, 99)), configuration(1, member(9), shard=1, slots=(100, 16383)))
    assert desk.core.whole


def test_a_slot_that_does_not_exist_is_refused():
    desk = primary(A)
    asked = desk.ask(Scan(20000, b"", 10, b"", False))
    assert desk.status(asked) is Status.INVALID_REQUEST


@pytest.mark.parametrize("size", [0, 1, 40])
def test_frames_after_the_one_that_fills_the_mailbox_wait(size: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("twistedkv.core.requests.CLIENT_OUTPUT_BYTES_MAX", size)
    desk = primary(A)
    mailbox = Mailbox(b"c" * 16, lambda: None)
    message_type, body = encode_request(Noop())
    done = desk.core.requests(mailbox, [(message_type, 0, number, body) for number in range(1, 9)])
    assert 0 < done < 8
    assert len(FrameDecoder().feed(mailbox.take())) == done
