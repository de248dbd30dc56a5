"""What commands share."""

from tests.cli.fakes import FakeClient
from twistedkv.cli.session import (
    CONNECT_SECONDS_MAX,
    NOT_DONE,
    UNKNOWN,
    USAGE,
    Session,
    exit_code_of,
    failure_of,
    open_blocking_client,
)
from twistedkv.errors import NOT_FORMED, ConfigurationError, OperationError, OutcomeUnknown, ShardLost, Unavailable


def session_of(client: FakeClient, deadline: float | None = None) -> Session:
    return Session("db:1", deadline, client.open)


def test_a_client_is_opened_once_and_only_when_it_is_needed() -> None:
    client = FakeClient()
    session = session_of(client)
    session.close()
    assert client.opened == []
    assert session.store is session.client
    assert len(client.opened) == 1
    session.close()
    session.close()
    assert client.closed == 1


def test_how_long_a_silent_cluster_is_waited_for() -> None:
    assert session_of(FakeClient()).connect_seconds == CONNECT_SECONDS_MAX
    assert session_of(FakeClient(), 60.0).connect_seconds == 60.0
    assert session_of(FakeClient(), 0.1).connect_seconds == 0.1


def test_unreachable_is_said_only_as_long_as_nothing_was_heard() -> None:
    client = FakeClient()
    session = session_of(client)
    late = Unavailable("no server served shard 3")
    assert "cannot reach the coordinator at db:1" in failure_of(late, session).message
    assert session.store is client
    assert failure_of(late, session).message == "no server served shard 3"
    assert failure_of(late, None).message == "no server served shard 3"


def test_a_coordinator_without_servers_is_told_from_none() -> None:
    message = failure_of(Unavailable(f"GET: last heard: {NOT_FORMED}"), session_of(FakeClient())).message
    assert message.startswith("the coordinator at db:1 has no cluster yet")


def test_exit_codes() -> None:
    assert exit_code_of(ConfigurationError("wrong")) == USAGE
    assert exit_code_of(OperationError("refused")) == NOT_DONE
    assert exit_code_of(ShardLost("gone")) == NOT_DONE
    assert exit_code_of(OutcomeUnknown("perhaps")) == UNKNOWN


def test_an_error_without_a_text_is_named() -> None:
    assert failure_of(OutcomeUnknown(), None).message == "OutcomeUnknown"


def test_the_real_client_is_what_the_command_line_expects() -> None:
    client = open_blocking_client(["127.0.0.1:1"], 0.1)
    try:
        assert client.cluster_map.version == 0
    finally:
        client.close()
