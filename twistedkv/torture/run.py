"""One run from beginning to end: a cluster, clients, faults; then everything is mended, read once more, compared.

The phases follow each other whatever happens, unless the cluster can not go on at all. An interrupt ends the faults
early; the rest is done nevertheless, because it is what the run is for.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from twistedkv.errors import TwistedKVError
from twistedkv.history.record import Record, header_line
from twistedkv.torture.cluster import LOOK_SECONDS, LocalCluster, pause
from twistedkv.torture.faults import Faults
from twistedkv.torture.incidents import Incident
from twistedkv.torture.meter import Meter
from twistedkv.torture.plan import Fault, Settings, draw_faults
from twistedkv.torture.promise import Look
from twistedkv.torture.traffic import Traffic, WrittenHistory, header_of

MENDED_SECONDS_MAX = 60.0
"""So long after the last fault everything has to be whole again."""
TICK_SECONDS = 0.25
"""How often the history is flushed and the view is shown."""

HISTORY_NAME = "history.jsonl"
JOURNAL_NAME = "journal.jsonl"
CLUSTER_NAME = "cluster"


class Phase(Enum):
    """What a run is at; the value is for people."""

    STARTING = "starting the cluster"
    TORTURE = "clients and faults"
    MENDING = "no more faults: the cluster heals"
    READING = "every key is read once more"
    COMPARING = "the copies of every key are compared"
    OVER = "over"


class Run:
    """A run. `reactor` is IReactorTCP, IReactorTime and IReactorProcess; `directory` is there, and empty."""

    def __init__(self, reactor: Any, settings: Settings, directory: Path) -> None:
        self.settings = settings
        self.directory = directory
        self.plan: list[Fault] = draw_faults(settings)
        self.meter = Meter()
        self.cluster = LocalCluster(reactor, settings, directory / CLUSTER_NAME)
        self.faults = Faults(reactor, self.cluster, self.meter, self.now)
        self.phase = Phase.STARTING
        self.look: Look | None = None
        """The last answer of the coordinator."""
        self.healed_after: float | None = None
        """Seconds from the end of the faults until everything was whole; None as long as it is not."""
        self.keys_read = 0
        """How many keys were read once more at the end, and their copies compared."""
        self.ran_seconds = 0.0
        """How long there were clients and faults: less than was wanted if somebody has interrupted it."""
        self.interrupted = False
        self.problems: list[str] = []
        """Whatever is wrong that the checkers do not see."""
        self.shown: Callable[[Run], object] = lambda run: None
        """Is called several times a second."""
        self.told: Callable[[Run, Incident], object] = lambda run, incident: None
        """Is called when it is known what came of a fault."""
        self.records: list[Record] = []
        """The whole history, when the run is over."""
        self._reactor = reactor
        self._began = reactor.seconds()
        self._wakened: Deferred[None] | None = None
        self.faults.told = lambda incident: self.told(self, incident)
        self.cluster.failed = self._cluster_failed

    def now(self) -> float:
        """Seconds since the clients began."""
        seconds: float = self._reactor.seconds() - self._began
        return seconds

    def interrupt(self) -> None:
        """No more faults."""
        self.interrupted = True
        self._waken()

    async def execute(self) -> None:
        """All of it. Raises OSError or Unavailable when the cluster could not be started."""
        try:
            self.look = await self.cluster.start()
            self._began = self._reactor.seconds()
            with open(self.directory / HISTORY_NAME, "w", encoding="utf-8") as stream:
                stream.write(header_line(header_of(self.settings, self.plan)) + "\n")
                history = WrittenHistory(self.now, self.meter, stream)
                traffic = Traffic(self._reactor, self.cluster.address, self.settings, history)
                ticking = LoopingCall(self._tick, history)
                ticking.clock = self._reactor
                ticked = ticking.start(TICK_SECONDS, now=False).addErrback(self._failed)
                try:
                    await self._execute(history, traffic)
                finally:
                    if ticking.running:
                        ticking.stop()
                    await ticked
                    history.finish()
                    self.records = history.relevant
                    self.problems += [*traffic.problems, *self.faults.problems]
                    self.phase = Phase.OVER
                    self.shown(self)
        finally:
            await self.cluster.end()

    async def _execute(self, history: WrittenHistory, traffic: Traffic) -> None:
        self.phase = Phase.TORTURE
        traffic.start()
        self.faults.schedule(self.plan)
        looking = ensureDeferred(self._keep_looking()).addErrback(self._failed)
        await self._sleep(self.settings.seconds)
        self.ran_seconds = self.now()
        self.phase = Phase.MENDING
        self.faults.end()
        if self.cluster.gone:
            await DeferredList([traffic.stop(), traffic.close(), looking])
            return
        await self._mend()
        await traffic.stop()
        history.stop_measuring()
        self.phase = Phase.READING
        if self.healed_after is not None:
            reads = await traffic.read_every_key()
            self.keys_read = len(reads)
            self.phase = Phase.COMPARING
            await traffic.compare_copies(reads, self.settings.copies)
        await self._write_journal()
        await DeferredList([looking, traffic.close()])

    async def _see(self) -> bool:
        """Look at the cluster; whether it is whole, and all that was done to it over."""
        asked = self.now()
        look = await self.cluster.look()
        if look is None:
            return False
        self.look = look
        self.faults.seen(look, asked)
        return look.healthy and self.faults.settled

    async def _keep_looking(self) -> None:
        while self.phase is Phase.TORTURE:
            await self._see()
            await pause(self._reactor, LOOK_SECONDS)

    async def _mend(self) -> None:
        """Wait until the cluster is whole."""
        until = self.ran_seconds + MENDED_SECONDS_MAX
        while not await self._see():
            if self.cluster.gone:
                return
            if self.now() > until:
                self.problems.append(f"the cluster was not whole {MENDED_SECONDS_MAX:.0f} s after the last fault")
                return
            await pause(self._reactor, LOOK_SECONDS)
        last = max((incident.over or 0.0 for incident in self.faults.incidents), default=0.0)
        self.healed_after = max(0.0, last - self.ran_seconds)

    async def _write_journal(self) -> None:
        try:
            events = await self.cluster.journal()
        except TwistedKVError as error:
            self.problems.append(f"the journal could not be read: {error}")
            return
        text = "".join(json.dumps(event) + "\n" for event in events)
        (self.directory / JOURNAL_NAME).write_text(text, encoding="utf-8")

    def _sleep(self, seconds: float) -> Deferred[None]:
        """Fires after so many seconds, or when somebody interrupts."""
        slept: Deferred[None] = Deferred()
        timer = self._reactor.callLater(0 if self.interrupted else seconds, self._waken)
        self._wakened = slept
        return slept.addCallback(lambda _: timer.cancel() if timer.active() else None)

    def _waken(self) -> None:
        wakened, self._wakened = self._wakened, None
        if wakened is not None:
            wakened.callback(None)

    def _tick(self, history: WrittenHistory) -> None:
        history.flush()
        # Hundreds of thousands of records are not to be looked through by the collector again and again: each time it
        # would keep this process, and so all clients, waiting.
        gc.freeze()
        self.shown(self)

    def _failed(self, failure: Failure) -> None:
        self.problems.append(f"the torture itself failed: {failure.getTraceback()}")

    def _cluster_failed(self, text: str) -> None:
        self.problems.append(text)
        self._waken()
