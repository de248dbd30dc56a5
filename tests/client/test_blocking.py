"""The blocking client, over loopback sockets: the fakes run in its own reactor thread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.client.fakes import FakeCluster, promoted
from twistedkv.blocking import Client, Incremented, PartialFailure, Value
from twistedkv.client.reactorthread import Wait, shared
from twistedkv.errors import InvalidRequest, OperationError, OutcomeUnknown, Status, Unavailable
from twistedkv.messages.client import PutMany

SECONDS_MAX = 20.0


def in_reactor(call: Callable[[], Any]) -> Any:
    """The result of a call in the reactor's thread."""
    thread, wait = shared.thread(), Wait()

    def do() -> None:
        try:
            wait.callback(call())
        except BaseException as error:
            wait.errback(error)

    thread.call(do)
    return wait.result(thread.thread)


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    reactor = shared.thread().reactor
    cluster = in_reactor(lambda: FakeCluster(reactor, port=0))
    yield cluster
    in_reactor(cluster.stop)
    assert cluster.store.problems == []


@pytest.fixture
def client(cluster: FakeCluster) -> Iterator[Client]:
    with Client(cluster.address) as client:
        yield client


def run(*lines: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def test_every_method(client: Client, cluster: FakeCluster) -> None:
    assert client.get(b"k") is None
    version = client.put(b"k", b"v")
    assert client.get(b"k") == Value(b"v", version)
    version = client.cas(b"k", b"w", version)
    assert client.incr(b"n", 5) == Incremented(5, version + 1)
    assert client.delete(b"n") == version + 2
    assert client.delete(b"n") is None
    pairs = {b"key%d" % n: b"%d" % n for n in range(3000)}
    assert list(client.mput(pairs)) == list(pairs)
    assert {key: value.value for key, value in client.mget(pairs).items() if value} == pairs
    assert {item.key: item.value for item in client.scan(b"key", values=True, page=100)} == pairs
    assert len(client.scan_page(0, page=10).items) == 10
    assert [check.matches for check in client.verify(b"k", b"w")] == [True, True]
    client.noop()
    client.noop(1)
    assert client.refresh() == client.cluster_map == cluster.map
    assert client.admin("status") == {"healthy": True}
    with pytest.raises(OperationError, match="no such command"):
        client.admin("frobnicate")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get("text"),
        lambda client: client.mget([b""]),
        lambda client: client.mput({b"k": 5}),
        lambda client: list(client.scan(5)),
        lambda client: client.get(b"k", deadline=0),
        lambda client: client.verify(b"k", "v"),
        lambda client: Client("host:port"),
        lambda client: Client(deadline=-1),
    ],
)
def test_wrong_arguments(client: Client, call: Callable[[Client], Any]) -> None:
    with pytest.raises(InvalidRequest):
        call(client)


def test_many_threads(client: Client) -> None:
    failures = []

    def work(number: int) -> None:
        try:
            for n in range(1, 101):
                assert client.incr(b"n%d" % number).value == n
                client.incr(b"all")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS_MAX)
    assert failures == []
    assert client.get(b"all").value == b"1000"  # type: ignore[union-attr]


def test_failures_of_operations(client: Client, cluster: FakeCluster) -> None:
    def full(request: Any, retry: bool) -> Any:
        return (Status.OUT_OF_SPACE, 0, b"full") if isinstance(request, PutMany) and b"b" in request.keys else None

    for server in cluster.servers.values():
        server.answer = full
    with pytest.raises(PartialFailure) as caught:
        client.mput({b"a": b"", b"b": b""})
    assert list(caught.value.done) == [b"a"]
    for server in cluster.servers.values():
        server.answer = lambda request, retry: "silent"
    with pytest.raises(OutcomeUnknown):
        client.put(b"k", b"v", deadline=0.1)


def test_a_failover(client: Client, cluster: FakeCluster) -> None:
    client.mput({b"%d" % n: b"" for n in range(100)})
    cluster.servers[1].frozen = True
    threading.Timer(0.2, lambda: in_reactor(lambda: cluster.coordinator.publish(promoted(cluster.map, 1)))).start()
    began = time.monotonic()
    assert [client.incr(b"n%d" % n).value for n in range(100)] == [1] * 100
    assert 0.1 < time.monotonic() - began < 5
    in_reactor(cluster.servers[1].held.clear)


def test_an_interrupt_goes_through_and_ends_the_operation(client: Client, cluster: FakeCluster) -> None:
    client.put(b"k", b"v")
    for server in cluster.servers.values():
        server.frozen = True

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for call in (lambda: client.put(b"k", b"w"), lambda: client.mget([b"k"]), lambda: client.verify(b"k", b"")):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                call()
    finally:
        signal.signal(signal.SIGALRM, before)
    in_reactor(cluster.servers[1].thaw)
    in_reactor(cluster.servers[2].thaw)
    in_reactor(cluster.servers[3].thaw)
    assert client.get(b"k") is not None


def test_the_reactors_thread_is_no_place_for_it(client: Client) -> None:
    with pytest.raises(RuntimeError, match=r"use twistedkv\.client\.Client there"):
        in_reactor(lambda: client.get(b"k"))


def test_a_closed_client(cluster: FakeCluster) -> None:
    client = Client(cluster.address)
    client.put(b"k", b"v")
    client.close()
    client.close()
    for call in (lambda: client.get(b"k"), client.refresh, lambda: client.cluster_map, lambda: next(client.scan())):
        with pytest.raises(Unavailable, match="closed"):
            call()
    ends = time.monotonic() + SECONDS_MAX
    while any(server.sessions for server in cluster.servers.values()):  # the end of a connection has to arrive
        assert time.monotonic() < ends
        time.sleep(0.001)


def test_closing_ends_what_others_wait_for(cluster: FakeCluster) -> None:
    client = Client(cluster.address)
    client.put(b"k", b"v")
    cluster.primary_of(b"k").frozen = True
    outcomes: list[Any] = []

    def wait() -> None:
        try:
            outcomes.append(client.put(b"k", b"w"))
        except Exception as error:
            outcomes.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not cluster.primary_of(b"k").held:
        time.sleep(0.001)
    client.close()
    thread.join(SECONDS_MAX)
    assert isinstance(outcomes[0], OutcomeUnknown)


def test_following_the_journal(client: Client, cluster: FakeCluster) -> None:
    events = client.admin_follow(after=1)
    client.refresh()
    seen: list[Any] = []

    def follow() -> None:
        for event in events:
            seen.append(event["number"])
            if event["number"] == 3:
                break
        events.close()  # type: ignore[attr-defined]

    thread = threading.Thread(target=follow)
    thread.start()
    while not cluster.coordinator.followers:
        time.sleep(0.001)
    in_reactor(lambda: cluster.coordinator.tell(*({"number": n} for n in range(5))))
    thread.join(SECONDS_MAX)
    assert seen == [2, 3]


def test_a_journal_that_ends_with_the_client(cluster: FakeCluster) -> None:
    client = Client(cluster.address)
    events = client.admin_follow()
    threading.Timer(0.2, client.close).start()
    with pytest.raises(Unavailable):
        next(events)


def test_a_forked_child_begins_anew(client: Client, cluster: FakeCluster) -> None:
    client.put(b"k", b"v")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # the fakes are the parent's: only they answer
        try:
            client.put(b"child", b"1")
            client.close()
            os.write(writing, b"done")
        finally:
            os._exit(0)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reading, 10) == b"done"
    os.close(reading)
    assert client.get(b"child") is not None
    assert client.put(b"k", b"w") > 0
    assert len({name[0] for name in cluster.store.executed}) == 2


def test_the_global_reactor_is_left_alone_and_the_process_ends() -> None:
    printed = run(
        "import sys, time",
        "from twistedkv.blocking import Client",
        "client = Client('localhost:1', deadline=0.2)",
        "try: client.get(b'k')",
        "except Exception as error: print(type(error).__name__, 'refused' in str(error))",
        "print('twisted.internet.reactor' in sys.modules)",
    )
    assert printed == "Unavailable True\nFalse\n"
