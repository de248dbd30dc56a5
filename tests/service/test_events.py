"""The coordinator's service under any messages from servers and operators: it answers, or hangs up, and goes on."""

from __future__ import annotations

from typing import Any

import attrs
import hypothesis.strategies as st
from hypothesis import given

from tests.service.coordinating import Coordination, Operator
from tests.support.strategies import of_family
from twistedkv.clustermap import Configuration, Member
from twistedkv.messages.client import MapUpdate
from twistedkv.wire.coordinator import FAMILY

SMALL = st.integers(0, 6)
MESSAGES = st.lists(
    st.tuples(st.integers(0, 2), of_family(FAMILY), SMALL, st.integers(0, 3), SMALL, st.booleans()), max_size=15
)


def fitted(coordination: Coordination, message: Any, shard: int, server: int, later: int) -> Any:
    """The message, about something that exists (unless `later` says that it should stay as it is)."""
    if later == 6:
        return message
    known = {c.shard: c for c in coordination.service.whole_map().shards}.get(shard)
    epoch = max(0, (known.epoch if known is not None else 1) + later - 2)
    names = {field.name for field in attrs.fields(type(message))}
    member = coordination.servers[server % 3]
    values = {
        "shard": shard,
        "epoch": epoch,
        "server_id": server,
        "store_id": member.store_id,
        "learner": Member(member.server_id, member.store_id),
        "member": Member(member.server_id, member.store_id),
        "target": server,
        "reports": [attrs.evolve(r, shard=shard, epoch=epoch) for r in getattr(message, "reports", [])],
    }
    return attrs.evolve(message, **{name: value for name, value in values.items() if name in names})


@given(MESSAGES)
def test_any_messages(messages: list[tuple[int, Any, int, int, int, bool]]) -> None:
    coordination = Coordination().start()
    for sender, message, shard, server, later, together in messages:
        if isinstance(message, MapUpdate | Configuration):
            continue
        who = coordination.servers[sender]
        if who.connection is None:
            who.connect()
        if who.connection is not None:
            who.send(fitted(coordination, message, shard, server, later), later)
        if not together:
            coordination.pump(0.1)
        assert coordination.service.planner is not None, "it had to begin again: an error of its own"
    coordination.pump(0.3)
    assert Operator(coordination).ask("status")["shards"]
    for c in coordination.service.whole_map().shards:
        assert c.members
        assert len({member.server_id for member in c.everyone}) == len(c.everyone)
    coordination.stop()


@given(st.lists(st.binary(max_size=40), max_size=5), st.dictionaries(st.text(max_size=8), st.integers() | st.text()))
def test_any_command(texts: list[bytes], arguments: dict[str, Any]) -> None:
    coordination = Coordination().start()
    operator = Operator(coordination)
    for text in texts:
        operator.ask_bytes(text)
    for command in ("status", "map", "journal", "switch", "dump", "accept-loss", "what"):
        number = operator.ask(command, **{k: v for k, v in arguments.items() if k != "command"})
        assert isinstance(number, dict)
    coordination.stop()
