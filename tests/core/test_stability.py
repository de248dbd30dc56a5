"""What has become stable is committed; what was there at the start is taken up again, and indexed bit by bit."""

from __future__ import annotations

from tests.support.disks import store_on, write_out
from tests.support.servers import HEARTBEAT, TIMING, Desk, configuration
from twistedkv.core.stability import Stability
from twistedkv.errors import Status
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.simulation.platter import Platter


def serving(platter: Platter) -> Desk:
    """A sole primary whose store is on this disk."""
    desk = Desk(store=store_on(platter))
    desk.adopt(configuration(3, desk.core.me, birth=3))
    write_out(desk.core.store)  # type: ignore[arg-type]
    desk.flush()
    assert desk.role is ReplicaRole.PRIMARY
    return desk


def test_a_write_is_answered_in_the_turn_after_it_is_stored():
    desk = serving(Platter(b"s" * 16))
    request = desk.put(1)
    assert desk.status(request) is None
    write_out(desk.core.store)  # type: ignore[arg-type]
    desk.flush()
    assert desk.status(request) is Status.SUCCESS


def test_a_new_process_has_what_was_stored_and_promises_anew():
    platter = Platter(b"s" * 16)
    desk = serving(platter)
    desk.put(1)
    write_out(desk.core.store)  # type: ignore[arg-type]
    again = Desk(store=store_on(platter))
    assert isinstance(again.core.stability, Stability)
    again.core.stability.restore()
    again.core.stability.promise(again.now)
    assert (again.role, again.replica.sequence) == (ReplicaRole.SEALED, 1)
    assert again.replica.promise_until == again.now + TIMING.grace
    again.pump(2 * HEARTBEAT)
    assert not again.replica.keeping.index(), "the ticks have looked at every slot"


def test_in_memory_there_is_nothing_to_take_up():
    desk = Desk()
    desk.core.stability.restore()
    assert desk.core.replicas == {}
