"""What operators can ask, what they are answered, and what they are told when it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.service.coordinating import OPTIONS, Coordination, Operator
from twistedkv.errors import InvalidRequest, Status
from twistedkv.messages.client import Get, Noop
from twistedkv.service.admin import server_number


@pytest.fixture
def coordination() -> Iterator[Coordination]:
    """Three servers, formed."""
    coordination = Coordination().start()
    yield coordination
    coordination.stop()


@pytest.fixture
def operator(coordination: Coordination) -> Operator:
    """An operator who is connected."""
    return Operator(coordination)


def test_status_has_everything(coordination: Coordination, operator: Operator) -> None:
    status = operator.ask("status")
    assert status["healthy"]
    assert status["coordinator"]["address"] == "127.0.0.1:7400"
    assert status["coordinator"]["generation"] == 1
    assert status["coordinator"]["uptime_seconds"] > 0
    assert [server["pid"] for server in status["servers"]] == [server.pid for server in coordination.servers]
    assert status["servers"][0]["keys"] == 10
    assert status["servers"][0]["bytes"] == 1000
    assert status["shards"][0]["commit"] == 7
    assert status["lost"] == []


def test_the_map(operator: Operator) -> None:
    assert len(operator.ask("map")["shards"]) == 6


def test_a_switch_is_answered_when_it_is_complete(coordination: Coordination, operator: Operator) -> None:
    shard = coordination.service.whole_map().shards[0]
    target = shard.secondaries[0].server_id
    answer = operator.ask("switch", shard=0, server=f"server_{target}")
    assert answer["shard"] == 0
    assert answer["server"] == target
    assert answer["epoch"] == 2
    assert answer["milliseconds"] >= 0
    assert coordination.service.whole_map().shards[0].primary.server_id == target
    again = operator.ask("switch", shard="0", server=target)
    assert again["epoch"] == 2, "there was nothing to do"


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        ("switch", {"shard": 0, "server": 77}, "there is no server 77: the servers are 1, 2, 3"),
        ("switch", {"shard": 6, "server": 1}, "there is no shard 6: the shards are 0 to 5"),
        ("switch", {"shard": -1, "server": 1}, "shard: expected a number, got -1"),
        ("switch", {"shard": True, "server": 1}, "shard: expected a number, got True"),
        ("switch", {"server": 1}, "shard: expected a number, got None"),
        ("switch", {"shard": 0, "server": "x"}, "server: expected a number, got 'x'"),
        ("switch", {"shard": [0], "server": 1}, "shard: expected a number"),
        ("dump", {"server": 9}, "server 9 is not connected"),
        ("accept-loss", {"shard": 0}, "shard 0 is not lost: nothing has to be accepted"),
        ("accept_loss", {"shard": "x"}, "shard: expected a number"),
        ("journal", {"after": "x"}, "after: expected the number of an event, got 'x'"),
        ("journal", {"after": -1}, "after: expected the number of an event, got -1"),
        ("drain", {}, "there is no command 'drain': the commands are accept-loss, dump, journal, map, status, switch"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    operator: Operator, command: str, arguments: dict[str, Any], sentence: str
) -> None:
    answer = operator.ask(command, **arguments)
    assert sentence in answer["error"]
    assert answer["status"] in (Status.INVALID_REQUEST, Status.UNSUPPORTED)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'"status"', b"{}", b'{"command": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_command(operator: Operator, text: bytes) -> None:
    assert operator.answer(operator.ask_bytes(text))["status"] is Status.INVALID_REQUEST
    assert operator.ask("status")["healthy"]


def test_a_refused_switch_fails_with_the_reason(coordination: Coordination, operator: Operator) -> None:
    for server in coordination.servers:
        server.refuses_to_switch = True
    shard = coordination.service.whole_map().shards[0]
    answer = operator.ask("switch", shard=0, server=shard.secondaries[0].server_id)
    assert answer["error"] == "shard 0 was not switched: not now"
    assert coordination.service.whole_map().shards[0] == shard


def test_a_switch_that_nobody_waits_for_any_more(coordination: Coordination, operator: Operator) -> None:
    for server in coordination.servers:
        server.obeys = False
    shard = coordination.service.whole_map().shards[0]
    with pytest.raises(IndexError):
        operator.ask("switch", shard=0, server=shard.secondaries[0].server_id)
    operator.connection.abort()  # type: ignore[union-attr]
    coordination.machine.settle()
    for server in coordination.servers:
        server.obeys = True
    coordination.pump(5)
    assert Operator(coordination).ask("status")["healthy"]


def test_dumps_name_their_files(operator: Operator) -> None:
    assert operator.ask("dump", server="server_2") == {
        "files": ["/dumps/server_2.primary", "/dumps/server_2.secondary"]
    }


def test_a_dump_without_an_answer_fails(coordination: Coordination, operator: Operator) -> None:
    coordination.servers[0].obeys = False
    number = operator.ask_bytes(b'{"command": "dump", "server": 1}')
    coordination.servers[0].connection.abort()  # type: ignore[union-attr]
    coordination.pump(0.1)
    assert "connection" in operator.answer(number)["error"]


def test_a_lost_shard_is_accepted_and_the_others_are_not_touched(coordination: Coordination) -> None:
    for server in coordination.servers[:2]:
        server.obeys = False
        coordination.service.process_ended(server.server_id, server.pid, "killed")
        server.connection.abort()  # type: ignore[union-attr]
    coordination.pump(0.5)
    operator = Operator(coordination)
    status = operator.ask("status")
    lost = status["lost"]
    assert 0 < len(lost) < 6
    assert not status["healthy"]
    assert operator.ask("accept-loss", shard="all") == {"shards": lost}
    assert operator.ask("status")["lost"] == []
    assert operator.ask("accept-loss", shard="all") == {"shards": []}


def test_the_journal_is_read_and_followed(coordination: Coordination, operator: Operator) -> None:
    events = operator.ask("journal")["events"]
    assert events[0]["event"] == "coordinator.started"
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert operator.ask("journal", after=len(events)) == {"events": []}
    number = operator.ask_bytes(b'{"command": "journal", "after": 2, "follow": true}')
    assert operator.answer(number)["events"][0]["number"] == 3
    coordination.servers[0].connection.abort()  # type: ignore[union-attr]
    coordination.pump(1)
    told = [event["number"] for n, reply in operator.replies if n == number for event in _events(reply)]
    assert told == list(range(3, max(told) + 1)), "each once, in order"
    assert max(told) > len(events)


def test_a_long_journal_comes_in_pages(coordination: Coordination) -> None:
    for i in range(2500):
        coordination.service.note("test", str(i), 1)
    operator = Operator(coordination)
    assert len(operator.ask("journal")["events"]) == 1000
    number = operator.ask_bytes(b'{"command": "journal", "follow": true}')
    told = [event["number"] for n, reply in operator.replies if n == number for event in _events(reply)]
    assert told == list(range(1, len(told) + 1))
    assert len(told) > 2500


def _events(reply: Any) -> list[dict[str, Any]]:
    import json

    events: list[dict[str, Any]] = json.loads(reply.json)["events"]
    return events


def test_an_answer_that_is_too_large_is_an_error(coordination: Coordination, operator: Operator) -> None:
    coordination.service.status = lambda: {"x": "y" * 5_000_000}  # type: ignore[method-assign]
    assert operator.ask("status")["error"] == "the answer is too large"


def test_keys_are_not_for_the_coordinator(operator: Operator) -> None:
    operator.request(Get(b"k"))
    operator.request(Noop())
    assert [result.status for result in operator.results] == [Status.UNSUPPORTED, Status.SUCCESS]
    assert b"ask the servers" in operator.results[0].value


def test_what_cannot_be_stored_is_not_answered_as_done(coordination: Coordination, operator: Operator) -> None:
    coordination.service.stopping = True
    assert "could not store" in operator.ask("switch", shard=0, server=2)["error"]
    coordination.service.stopping = False


def test_server_ids_may_have_their_long_form() -> None:
    assert server_number("server_12") == server_number("12") == server_number(12) == 12
    with pytest.raises(InvalidRequest, match="server: expected a number"):
        server_number(None)


def test_an_unformed_cluster_has_a_status() -> None:
    coordination = Coordination(attrs.evolve(OPTIONS, servers=5, shards=20)).start(2)
    status = Operator(coordination).ask("status")
    assert not status["healthy"]
    assert status["shards"] == []
    coordination.stop()
