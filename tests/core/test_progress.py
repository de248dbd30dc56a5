"""What an acknowledgement of a frame says about the copies that the frame brought something to."""

import pytest

from tests.support.servers import HEARTBEAT, ME, A, B, C, configuration, primary
from twistedkv.core.progress import PeerLink
from twistedkv.messages.peer import Ack, Refusal, RefusedSection


def test_frames_are_numbered_from_one_and_never_again_not_over_reconnects_either():
    link = PeerLink(A)
    assert [link.frame([], [], 10, 0.0).number for _ in range(2)] == [1, 2]
    link.connected = True
    link.lost()
    assert not link.connected
    assert link.frame([], [], 10, 0.0).number == 3


def test_bytes_under_way_are_counted_until_acknowledged_or_lost():
    link = PeerLink(A)
    for size in (10, 20, 30):
        link.frame([], [], size, 0.0)
    assert link.unacknowledged_bytes == 60
    link.acknowledged(Ack(2, 2, []), 1.0)
    assert link.unacknowledged_bytes == 30
    link.acknowledged(Ack(2, 2, []), 1.0)
    assert link.unacknowledged_bytes == 30
    link.lost()
    assert link.unacknowledged_bytes == 0


def test_one_number_acknowledges_all_frames_up_to_it():
    desk = primary(A)
    first = desk.put(1)
    second = desk.put(2)
    third = desk.put(3)
    desk.ack(A, number=3)  # 1 was the first beacon
    assert (desk.status(first), desk.status(second), desk.status(third)) == (0, 0, None)
    assert desk.follower(A).acked == 2


def test_the_lease_counts_from_the_sending_of_the_newest_acknowledged_frame():
    """I7: not from the arrival of the acknowledgement, nor from the sending of one that is still under way."""
    desk = primary(A)
    desk.now = 200.0
    desk.put(1)
    desk.now = 200.1
    desk.put(2)
    desk.now = 200.3
    desk.ack(A, number=2)
    assert desk.follower(A).lease_from == 200.0
    assert desk.replica.lease_until == pytest.approx(200.0 + 3 * HEARTBEAT)
    desk.ack(A, number=3)
    assert desk.replica.lease_until == pytest.approx(200.1 + 3 * HEARTBEAT)


def test_an_acknowledgement_of_a_lost_connection_confirms_nothing():
    desk = primary(A)
    asked = desk.put(1)
    old = desk.sent[A][-1].number
    desk.core.peer_lost(A)
    desk.connect()
    desk.flush()
    desk.ack(A, number=old)
    assert desk.status(asked) is None
    desk.ack(A)
    assert desk.status(asked) == 0


def test_a_refused_section_advances_nothing_of_its_shard_and_the_others_advance():
    desk = primary(A)
    lower = configuration(3, ME, [A], birth=3, slots=(0, 8191))
    upper = configuration(3, ME, [A], birth=3, shard=1, slots=(8192, 16383))
    desk = type(desk)()
    desk.adopt(lower, upper)
    desk.ack_all()
    low = desk.put(1, b"b", flush=False)
    high = desk.put(2, b"a")
    assert [replica.sequence for replica in desk.core.replicas.values()] == [1, 1]
    desk.ack(A, RefusedSection(0, Refusal.GAP, 3, 0))
    assert {desk.status(low), desk.status(high)} == {None, 0}
    assert [desk.core.replicas[shard].commit for shard in (0, 1)] == [0, 1]


def test_a_frame_from_before_the_fill_says_nothing_about_it():
    """It was sent to whoever held the copy before."""
    desk = primary(A, learners=[B])
    desk.put(1)
    before = desk.sent[B][-1].number
    follower = desk.follower(B)
    desk.core.peers[B].connected = True
    desk.replica.leading.fill_refused(follower)
    desk.flush()
    assert follower.fill
    desk.ack(B, number=before)
    assert not follower.joined
    desk.ack(B)
    assert follower.joined


def test_acknowledgements_of_unknown_peers_and_dropped_followers_are_ignored():
    desk = primary(A, B)
    desk.put(1)
    desk.core.acknowledged(C, Ack(99, 99, []), desk.now)
    number = desk.sent[B][-1].number
    desk.adopt(configuration(4, ME, [A], birth=3))
    commit = desk.replica.commit
    desk.ack(B, number=number)
    desk.ack(B, RefusedSection(0, Refusal.OLD_EPOCH, 99, 0), number=number)
    assert desk.replica.commit == commit
    assert desk.role.name == "PRIMARY"
