"""The session: what is sent where, how often, and what the user is told."""

from __future__ import annotations

import pytest

from tests.shell.fakes import A, B, C, Silence, World
from twistedkv.errors import NotDone, OutcomeUnknown
from twistedkv.line.failures import in_part
from twistedkv.resp.answers import Answer, AnswerDecoder, ErrorAnswer, PushAnswer, StatusText
from twistedkv.shell.link import LinkLost
from twistedkv.shell.session import PATIENCE_SECONDS, REDIRECTS_MAX, LineSession

OK = StatusText(b"OK")
QUEUED = StatusText(b"QUEUED")
TRYAGAIN = ErrorAnswer(b"TRYAGAIN no primary serves the shard yet")


def moved(address: str) -> ErrorAnswer:
    return ErrorAnswer(b"MOVED 866 " + address.encode())


def ask(session: LineSession, line: bytes) -> Answer:
    return session.run(line.split(b" "))


def cluster_of(*addresses: str) -> Answer:
    """An answer to CLUSTER SLOTS."""
    nodes: list[Answer] = []
    for address in addresses:
        host, _, port = address.partition(":")
        nodes.append([host.encode(), int(port), b"0" * 40])
    return [[0, 16383, *nodes]]


def test_a_command_is_sent_and_its_answer_returned() -> None:
    world = World(a=[OK, b"v"])
    session = world.session()
    assert ask(session, b"SET k v") == OK
    assert ask(session, b"GET k") == b"v"
    assert (session.address, world.servers[A].asked, world.said) == (A, [b"SET k v", b"GET k"], [])


def test_an_error_is_an_answer() -> None:
    world = World(a=[ErrorAnswer(b"ERR syntax error")])
    assert ask(world.session(), b"SET k") == ErrorAnswer(b"ERR syntax error")
    assert world.slept == []


# Connecting.


def test_the_addresses_are_tried_in_turn() -> None:
    world = World(b=[])
    assert world.session(A, B).address == B
    assert world.dialled == [A, B]


def test_nobody_there_is_said_at_once_with_the_reasons() -> None:
    world = World()
    with pytest.raises(NotDone, match=f"{A} .connection refused., {B} .connection refused."):
        world.session(A, B)
    assert world.slept == []


def test_resp3_is_greeted_with_hello() -> None:
    world = World(a=[])
    world.session(protocol=3)
    assert world.servers[A].greeted == [b"HELLO 3", b"CLUSTER SLOTS"]


def test_a_server_without_resp3_is_left_for_another() -> None:
    world = World(a=[], b=[])
    world.servers[A].hello = ErrorAnswer(b"NOPROTO unsupported protocol version")
    assert world.session(A, B, protocol=3).address == B
    world.servers[B].hello = world.servers[A].hello
    with pytest.raises(NotDone, match="it has no RESP3: NOPROTO"):
        world.session(A, B, protocol=3)
    assert all(link.closed for link in world.links if link.address == A)


def test_a_frozen_server_is_left_for_another() -> None:
    world = World(a=[], b=[])
    world.servers[A].slots = Silence(100)
    assert world.session(A, B).address == B
    assert world.links[0].closed


def test_a_server_that_refuses_connections_is_left_for_another() -> None:
    world = World(a=[], b=[])
    world.servers[A].last_words = "the server said: ERR max number of clients reached"
    assert world.session(A, B).address == B
    assert world.links[0].closed
    del world.servers[B]
    with pytest.raises(NotDone, match="max number of clients reached"):
        world.session(A, B)


# Redirects.


def test_moved_is_followed_and_stayed_with() -> None:
    world = World(a=[moved(B)], b=[OK, b"v"])
    session = world.session()
    assert ask(session, b"SET k v") == OK
    assert ask(session, b"GET k") == b"v"
    assert world.servers[B].asked == [b"SET k v", b"GET k"]
    assert world.said == [f"-> slot 866 is at {B}"]
    assert [link.closed for link in world.links] == [True, False]


def test_moved_without_a_host_means_the_same_host() -> None:
    world = World(a=[moved(":7380")], b=[OK])
    session = world.session()
    assert ask(session, b"SET k v") == OK
    assert session.address == B


def test_moved_is_not_followed_for_ever() -> None:
    world = World(a=lambda words: moved(B), b=lambda words: moved(A))
    assert ask(world.session(), b"SET k v") in (moved(A), moved(B))
    assert len(world.servers[A].asked) + len(world.servers[B].asked) == REDIRECTS_MAX + 1


def test_moved_to_a_dead_server_is_tried_again_until_it_lives() -> None:
    world = World(a=lambda words: moved(B), b=[OK])
    world.servers[B].refuses = "connection refused"

    def start() -> None:
        world.servers[B].refuses = "" if world.now > 1 else "connection refused"

    world.at_sleep = start
    assert ask(world.session(), b"INCR k") == OK
    assert world.servers[B].asked == [b"INCR k"]
    assert (
        world.said[0] == f"slot 866 is at {B}, which cannot be reached (connection refused); tried again for up to 5 s"
    )
    assert world.said[-1] == f"-> slot 866 is at {B}"


def test_moved_to_a_server_that_stays_dead_is_the_answer_in_the_end() -> None:
    world = World(a=lambda words: moved(B))
    assert ask(world.session(), b"INCR k") == moved(B)
    assert world.now == PATIENCE_SECONDS


def test_ask_is_followed_for_one_command() -> None:
    world = World(a=[ErrorAnswer(b"ASK 866 " + B.encode()), b"w"], b=[OK, b"v"])
    session = world.session()
    assert ask(session, b"GET k") == b"v"
    assert ask(session, b"GET other") == b"w"
    assert world.servers[B].asked == [b"ASKING", b"GET k"]
    assert world.servers[A].asked == [b"GET k", b"GET other"]
    assert world.said == [f"-> asked at {B} (slot 866 is being moved there)"]
    assert [link.closed for link in world.links] == [False, True]


def test_a_write_lost_where_ask_led_to_is_not_sent_again() -> None:
    world = World(a=[ErrorAnswer(b"ASK 866 " + B.encode())], b=[OK, LinkLost("reset")])
    with pytest.raises(OutcomeUnknown, match=f"the connection to {B} was lost"):
        ask(world.session(), b"INCR k")


def test_ask_leading_to_nobody_is_asked_again() -> None:
    world = World(a=[ErrorAnswer(b"ASK 866 " + B.encode()), 1])
    assert ask(world.session(), b"INCR k") == 1
    assert world.servers[A].asked == [b"INCR k"] * 2


def test_a_redirect_that_is_not_understood_is_an_answer() -> None:
    strange = ErrorAnswer(b"MOVED to Berlin")
    assert ask(World(a=[strange]).session(), b"GET k") == strange


# Errors that pass.


@pytest.mark.parametrize("error", [TRYAGAIN, ErrorAnswer(b"CLUSTERDOWN The cluster is down")])
def test_passing_errors_are_tried_again_with_one_message(error: ErrorAnswer) -> None:
    world = World(a=[error, error, error, OK])
    assert ask(world.session(), b"INCR k") == OK
    assert len(world.slept) == 3
    assert world.said == [error.text.decode() + "; tried again for up to 5 s"]


def test_an_error_that_does_not_pass_is_the_answer_in_the_end() -> None:
    world = World(a=lambda words: TRYAGAIN)
    assert ask(world.session(), b"INCR k") == TRYAGAIN
    assert world.now == PATIENCE_SECONDS


def test_a_write_that_was_executed_in_part_is_not_sent_again() -> None:
    [error] = AnswerDecoder().feed(in_part(b"MSET", [b"-CLUSTERDOWN Hash slot not served\r\n"], 1, 2, writes=True))
    world = World(a=[error])
    session = world.session()
    assert ask(session, b"MSET k v l w") == error
    assert world.slept == []


# Connections that are lost.


def test_a_write_without_an_answer_is_of_unknown_outcome_and_not_sent_again() -> None:
    world = World(a=[LinkLost("connection reset by peer"), 2], b=[5])
    session = world.session(A, B)
    with pytest.raises(OutcomeUnknown) as caught:
        ask(session, b"INCR k")
    assert str(caught.value) == (
        f"the connection to {A} was lost (connection reset by peer): INCR was executed once or not at all, "
        "and is not sent again; read the key to find out"
    )
    assert (session.address, world.servers[A].asked, world.servers[B].asked) == ("", [b"INCR k"], [])
    assert ask(session, b"INCR k") == 5
    assert world.said == [f"connected to {B}"]


def test_a_command_that_is_not_known_counts_as_a_write() -> None:
    world = World(a=[LinkLost("reset")])
    with pytest.raises(OutcomeUnknown):
        ask(world.session(), b"FROBNICATE k")
    assert world.servers[A].asked == [b"FROBNICATE k"]


def test_a_read_without_an_answer_is_sent_again_elsewhere() -> None:
    world = World(a=[LinkLost("connection reset by peer")], b=[b"v"])
    assert ask(world.session(A, B), b"get k") == b"v"
    assert world.said == [
        f"the connection to {A} was lost (connection reset by peer); GET only reads, and is sent again",
        f"connected to {B}",
    ]


def test_servers_that_the_cluster_has_named_are_gone_to() -> None:
    world = World(a=[LinkLost("reset")], c=[b"v"])
    world.servers[A].slots = cluster_of(B, C)
    assert ask(world.session(), b"GET k") == b"v"
    assert world.dialled == [A, B, C]


def test_what_was_closed_between_two_commands_is_opened_again_even_for_a_write() -> None:
    world = World(a=[OK, OK])
    session = world.session()
    ask(session, b"SET k v")
    world.links[0].ended = "the server closed it"
    assert ask(session, b"SET k w") == OK
    assert world.servers[A].asked == [b"SET k v", b"SET k w"]
    assert world.said == [f"the connection to {A} is lost (the server closed it)", f"connected to {A}"]


def test_a_server_that_comes_back_is_waited_for() -> None:
    world = World(a=[OK, OK])
    session = world.session()
    world.links[0].ended = "the server closed it"
    world.servers[A].refuses = "connection refused"

    def restart() -> None:
        world.servers[A].refuses = "" if world.now > 1 else "connection refused"

    world.at_sleep = restart
    assert ask(session, b"SET k v") == OK
    assert f"cannot connect to {A} (connection refused); tried again for up to 5 s" in world.said


def test_a_server_that_stays_away_is_given_up() -> None:
    world = World(a=[])
    session = world.session()
    world.links[0].ended = "the server closed it"
    world.servers[A].refuses = "connection refused"
    with pytest.raises(NotDone, match="cannot connect"):
        ask(session, b"SET k v")
    assert world.now == PATIENCE_SECONDS


def test_servers_that_lose_every_read_are_given_up() -> None:
    world = World(a=lambda words: LinkLost("reset"))
    with pytest.raises(NotDone, match="no server answered for 5 s"):
        ask(world.session(), b"GET k")


def test_a_server_that_is_silent_is_mentioned_once() -> None:
    world = World(a=[Silence(9), OK])
    assert ask(world.session(), b"SET k v") == OK
    assert world.said == [f"no answer from {A} yet; Ctrl-C gives up"]


def test_a_deadline_ends_the_silence() -> None:
    world = World(a=[Silence(9), OK])
    with pytest.raises(OutcomeUnknown, match=r"no answer within 3 s"):
        ask(world.session(answer_seconds=3), b"SET k v")
    assert world.now == 3
    assert world.links[0].closed


# Ctrl-C.


def test_an_interrupted_write_is_of_unknown_outcome_and_its_answer_is_no_others() -> None:
    world = World(a=[KeyboardInterrupt(), b"v"])
    session = world.session()
    with pytest.raises(OutcomeUnknown, match="given up before"):
        ask(session, b"SET k v")
    assert world.links[0].closed
    assert ask(session, b"GET k") == b"v"


def test_an_interrupted_read_is_not_sent_again() -> None:
    world = World(a=[KeyboardInterrupt()])
    with pytest.raises(NotDone, match="given up before"):
        ask(world.session(), b"GET k")


def test_an_interrupted_wait_has_executed_nothing() -> None:
    world = World(a=lambda words: TRYAGAIN)
    session = world.session()

    def interrupt() -> None:
        raise KeyboardInterrupt

    world.at_sleep = interrupt
    with pytest.raises(NotDone, match="the command was not executed"):
        ask(session, b"INCR k")
    assert session.address == A


# What belongs to the connection.


def begin(world: World, *lines: bytes) -> LineSession:
    session = world.session(A, B)
    for line in lines:
        ask(session, line)
    return session


def test_a_transaction_is_followed() -> None:
    world = World(a=[OK, QUEUED, [OK], OK, OK])
    session = begin(world, b"MULTI", b"set k v")
    assert session.in_transaction
    ask(session, b"EXEC")
    assert not session.in_transaction
    ask(session, b"multi")
    assert session.in_transaction
    ask(session, b"DISCARD")
    assert not session.in_transaction


def test_unwatch_within_a_transaction_is_queued_and_forgets_nothing() -> None:
    world = World(a=[OK, OK, QUEUED, ErrorAnswer(b"ERR MULTI calls can not be nested"), OK])
    session = begin(world, b"WATCH k", b"MULTI", b"UNWATCH", b"MULTI")
    assert session.in_transaction
    assert session.watching
    ask(session, b"RESET")
    assert not session.in_transaction
    assert not session.watching


def test_a_transaction_is_not_carried_on_over_another_connection() -> None:
    world = World(a=[OK, LinkLost("reset")], b=[OK])
    session = begin(world, b"MULTI")
    with pytest.raises(NotDone, match="and the transaction with it: nothing of it was executed"):
        ask(session, b"GET k")
    assert not session.in_transaction
    assert world.servers[B].asked == []
    assert ask(session, b"SET k v") == OK


def test_a_command_of_a_transaction_that_is_gone_is_not_sent() -> None:
    world = World(a=[OK], b=[])
    session = begin(world, b"MULTI")
    world.links[0].ended = "the server closed it"
    with pytest.raises(NotDone, match="this command was not sent"):
        ask(session, b"SET k v")
    assert world.servers[A].asked == [b"MULTI"]
    assert world.servers[B].asked == []


def test_exec_without_an_answer_is_of_unknown_outcome() -> None:
    world = World(a=[OK, QUEUED, LinkLost("reset")], b=[])
    session = begin(world, b"MULTI", b"SET k v")
    with pytest.raises(OutcomeUnknown, match="EXEC was executed once or not at all"):
        ask(session, b"EXEC")
    assert not session.in_transaction


@pytest.mark.parametrize(("first", "way_out"), [(b"MULTI", "DISCARD"), (b"WATCH k", "UNWATCH")])
def test_what_would_be_forgotten_keeps_a_redirect_from_being_followed(first: bytes, way_out: str) -> None:
    world = World(a=[OK, moved(B)], b=[])
    session = begin(world, first)
    assert ask(session, b"GET k") == moved(B)
    assert session.address == A
    assert way_out in world.said[0]


def test_watch_itself_is_redirected() -> None:
    world = World(a=[moved(B)], b=[OK])
    session = begin(world, b"WATCH k")
    assert session.watching
    assert session.address == B


def test_what_was_watched_is_not_forgotten_silently() -> None:
    world = World(a=[OK, LinkLost("reset")], b=[])
    session = begin(world, b"WATCH k")
    with pytest.raises(NotDone, match="and with it what WATCH has watched"):
        ask(session, b"GET k")


def test_tryagain_within_a_transaction_is_an_answer() -> None:
    world = World(a=[OK, TRYAGAIN])
    assert ask(begin(world, b"MULTI"), b"SET k v") == TRYAGAIN


def test_a_protocol_that_the_user_has_chosen_is_kept_until_reset() -> None:
    world = World(a=[LinkLost("reset"), b"v", OK, LinkLost("reset"), b"v"])
    session = world.session()
    ask(session, b"HELLO 3")
    ask(session, b"GET k")
    assert world.servers[A].greeted == [b"CLUSTER SLOTS", b"HELLO 3", b"HELLO 3", b"CLUSTER SLOTS"]
    ask(session, b"RESET")
    ask(session, b"GET k")
    assert world.servers[A].greeted[4:] == [b"CLUSTER SLOTS"]


# What nobody has asked for.


def test_a_push_is_no_answer() -> None:
    world = World(a=[PushAnswer([b"invalidate", [b"k"]]), b"v"])
    session = world.session()
    assert ask(session, b"GET k") == b"v"
    world.links[0].pushed.append(PushAnswer([b"moving"]))
    world.servers[A].script = [b"w"]
    assert ask(session, b"GET k") == b"w"
    assert world.said == ['the server says: 1) "invalidate" 2) 1) "k"', 'the server says: 1) "moving"']


@pytest.mark.parametrize("name", [b"MONITOR", b"subscribe"])
def test_answers_without_end_are_not_begun(name: bytes) -> None:
    world = World(a=[])
    with pytest.raises(NotDone, match="without end"):
        world.session().run([name, b"x"])
    assert world.servers[A].asked == []
