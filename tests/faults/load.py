"""The recorded load, as a process of its own.

    python -m tests.faults.load HISTORY COORDINATOR [COORDINATOR...] --seed N --clients 4 --lanes 2

Begins at once, and appends everything that its clients do to HISTORY. Each line on standard input is a command, a JSON
object, answered by a line on standard output as soon as it is done:

    {}                                       how many operations have ended how: {"ok": n, "fail": n, "info": n}
    {"hunt": [keys], "at": "HOST:PORT", "clients": 2}
                                             pin clients to that server, to read and write these keys, which from now on
                                             the lanes of one more ordinary client change as well
    {"hunted": true}                         what the pinned clients were answered
    {"bulk": lanes, "bytes": n, "keys": n, "pause": seconds}
                                             lanes that write large values, each to so many keys, with a pause after
                                             each; they are counted and not recorded
    {"stop": true}                           let every lane end what it is at, end the pinned clients
    {"final": true}                          read every key once more, as the process that comes after all others
    {"end": true}                            close the history, and end

It ends with its standard input as well, and by SIGTERM, after saying of what is open that nobody knows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from tests.faults.historyfile import FileHistory
from tests.faults.pinned import Pinned
from twistedkv.client.twisted import Client
from twistedkv.clock import use_monotonic_clock
from twistedkv.errors import NotDone, OutcomeUnknown
from twistedkv.history.record import Record
from twistedkv.recording.lanes import Habits, Lane, read_all

HUNTING_LANES = 3
BULK_DEADLINE_SECONDS = 30.0


class _HuntingLane(Lane):
    """Changes and reads certain keys."""

    def __init__(self, keys: list[str], *args: Any) -> None:
        super().__init__(*args)
        self._keys = keys

    async def _one(self) -> None:
        key = self._random.choice(self._keys)
        await self._do(key, self._random.choice(("write", "read")), 10.0)


class Load:
    """Clients and lanes, and what can be asked of them."""

    def __init__(self, reactor: Any, path: Path, addresses: list[str], habits: Habits, seed: int) -> None:
        self.reactor = reactor
        self.history = FileHistory(path, self._count)
        self.outcomes: Counter[str] = Counter()
        self.bulk: Counter[str] = Counter()
        self.problems: list[str] = []
        self._addresses = addresses
        self._habits = habits
        self._random = random.Random(seed)
        self._stopping = False
        self._running: list[Deferred[None]] = []
        self._clients: list[Client] = []
        self._pinned: list[Pinned] = []

    def _count(self, record: Record) -> None:
        self.outcomes[record.result] += 1

    def _client(self) -> Client:
        client = Client(self._addresses, reactor=self.reactor, random=random.Random(self._random.random()))
        self._clients.append(client)
        return client

    def _run(self, coroutine: Any) -> None:
        running = ensureDeferred(coroutine)
        running.addErrback(self._failed)
        self._running.append(running)

    def _failed(self, failure: Failure) -> None:
        self.problems.append(failure.getTraceback())

    def start(self, clients: int) -> None:
        """So many clients, each with its lanes."""
        for _ in range(clients):
            client = self._client()
            for _ in range(self._habits.lanes):
                self._run(self._lane(Lane, client).run())

    def _lane(self, kind: Any, client: Client, *first: Any) -> Any:
        chance = random.Random(self._random.random())
        return kind(*first, self.history, self._habits, client, self.reactor, chance, lambda: self._stopping)

    # Commands.

    async def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what a command says. The answer."""
        if "hunt" in command:
            host, _, port = command["at"].rpartition(":")
            for _ in range(command["clients"]):
                self._pinned.append(Pinned(self.reactor, self.history, host, int(port), command["hunt"]))
            if command.get("others", True):
                client = self._client()
                for _ in range(HUNTING_LANES):
                    self._run(self._lane(_HuntingLane, client, command["hunt"]).run())
        elif "hunted" in command:
            return dict(sum((pinned.counts for pinned in self._pinned), Counter()))
        elif "bulk" in command:
            client = self._client()
            for lane in range(command["bulk"]):
                self._run(self._write_large(client, lane, command["bytes"], command["keys"], command["pause"]))
        elif "stop" in command:
            self._stopping = True
            for pinned in self._pinned:
                pinned.stop()
            await DeferredList(self._running)
        elif "final" in command:
            await read_all(self._client(), self.history, self.history.keys())
        if self.problems:
            raise AssertionError("\n".join(self.problems))
        return dict(self.outcomes) | {f"bulk_{name}": count for name, count in self.bulk.items()}

    async def _write_large(self, client: Client, lane: int, size: int, keys: int, pause_seconds: float) -> None:
        value = self._random.randbytes(size)
        number = 0
        while not self._stopping:
            number += 1
            began = time.monotonic()
            try:
                await client.put(b"bulk-%d-%d" % (lane, number % keys), value, deadline=BULK_DEADLINE_SECONDS)
                outcome = "ok"
            except NotDone:
                outcome = "fail"
            except OutcomeUnknown:
                outcome = "info"
            self.bulk[outcome] += 1
            self.bulk["longest_ms"] = max(self.bulk["longest_ms"], round((time.monotonic() - began) * 1000))
            pause: Deferred[None] = Deferred()
            self.reactor.callLater(pause_seconds, pause.callback, None)
            await pause


class _Commands(LineReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1 << 20
    transport: Any

    def __init__(self, load: Load) -> None:
        self._load = load

    def lineReceived(self, line: bytes) -> None:
        command = json.loads(line)
        answering = ensureDeferred(self._load.obey(command))
        answering.addErrback(lambda failure: {"error": failure.getTraceback()})
        answering.addCallback(self._answer, "end" in command)

    def _answer(self, answer: dict[str, Any], end: bool) -> None:
        self.transport.write(json.dumps(answer).encode() + b"\n")
        if end:
            self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        with contextlib.suppress(ReactorNotRunning):
            self._load.reactor.stop()


def main() -> None:
    """The load as a process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("history", type=Path)
    parser.add_argument("coordinators", nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--think", type=float, default=0.01)
    options = parser.parse_args()
    from twisted.internet import reactor, stdio

    use_monotonic_clock(reactor)
    habits = Habits(lanes=options.lanes, think_seconds=options.think)
    load = Load(reactor, options.history, options.coordinators, habits, options.seed)
    load.start(options.clients)
    stdio.StandardIO(_Commands(load))
    reactor.addSystemEventTrigger("after", "shutdown", load.history.close)
    reactor.run()


if __name__ == "__main__":
    main()
