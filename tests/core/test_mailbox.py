"""Mailboxes keep the order of answers, and an outbox names each of them once."""

from twistedkv.core.mailbox import Mailbox, Outbox


def test_answers_are_joined_in_order_and_each_mailbox_is_named_once():
    outbox = Outbox()
    one, two = Mailbox(b"1" * 16), Mailbox(b"2" * 16)
    outbox.answer(one, b"first")
    outbox.answer(two, b"other")
    outbox.answer(one, b"second")
    assert outbox.mailboxes == [one, two]
    assert one.size == len(b"firstsecond")
    assert one.take() == b"firstsecond"
    assert (one.size, one.take()) == (0, b"")
    assert two.take() == b"other"


def test_a_mailbox_that_was_emptied_is_named_again():
    outbox = Outbox()
    mailbox = Mailbox(b"1" * 16)
    outbox.answer(mailbox, b"a")
    outbox.mailboxes = []
    mailbox.take()
    outbox.answer(mailbox, b"b")
    assert outbox.mailboxes == [mailbox]


def test_messages_to_the_coordinator_keep_their_order_and_what_they_answer():
    outbox = Outbox()
    outbox.tell("one")
    outbox.tell("two", 7)
    assert outbox.to_coordinator == [("one", 0), ("two", 7)]
