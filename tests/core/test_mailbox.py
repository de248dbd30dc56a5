"""Mailboxes keep the order of answers, and an outbox names each of them once."""

from twistedkv.core.mailbox import Mailbox, Outbox
from twistedkv.messages.client import Result
from twistedkv.wire.client import RESULT, decode_result
from twistedkv.wire.frames import FrameDecoder


def test_answers_are_joined_in_order_and_each_mailbox_is_named_once():
    outbox = Outbox()
    one, two = Mailbox(b"1" * 16, lambda: None), Mailbox(b"2" * 16, lambda: None)
    outbox.answer(one, 1, b"first")
    outbox.answer(two, 1, b"other")
    outbox.answer(one, 2, b"second")
    assert outbox.mailboxes == [one, two]
    assert one.size == len(b"firstsecond")
    assert one.take() == b"firstsecond"
    assert (one.size, one.take()) == (0, b"")
    assert two.take() == b"other"


def test_a_mailbox_that_was_emptied_is_named_again():
    outbox = Outbox()
    mailbox = Mailbox(b"1" * 16, lambda: None)
    outbox.answer(mailbox, 1, b"a")
    outbox.mailboxes = []
    mailbox.take()
    outbox.answer(mailbox, 2, b"b")
    assert outbox.mailboxes == [mailbox]


def test_messages_to_the_coordinator_keep_their_order_and_what_they_answer():
    outbox = Outbox()
    outbox.tell("one")
    outbox.tell("two", 7)
    assert outbox.to_coordinator == [("one", 0), ("two", 7)]


def test_a_mailbox_of_a_binary_client_makes_frames():
    mailbox = Mailbox(b"1" * 16, lambda: None)
    [(message_type, _, request_id, body)] = FrameDecoder().feed(mailbox.result(7, 3, 9, b"value"))
    assert (message_type, request_id, decode_result(body)) == (RESULT, 7, Result(3, 9, b"value"))


def test_what_is_made_of_a_result_is_the_mailboxs_own():
    """As on the line port, whose replies need their places."""

    class Placed(Mailbox):
        def add(self, request_id, answer):
            self.parts.append((request_id, answer))

        def result(self, request_id, status, version=0, value=b""):
            return value

    outbox = Outbox()
    mailbox = Placed(b"1" * 16, lambda: None)
    outbox.answer(mailbox, 7, mailbox.result(7, 0, 9, b"value"))
    outbox.answer(mailbox, 6, mailbox.result(6, 0, 9, b"other"))
    assert outbox.mailboxes == [mailbox]
    assert mailbox.parts == [(7, b"value"), (6, b"other")]
