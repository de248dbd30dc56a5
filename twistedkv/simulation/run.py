"""One run: a cluster drawn from the seed, clients, faults, the time after them, and the verdict."""

from __future__ import annotations

import gc
import random
from typing import Any

import attrs
from twisted.internet.defer import ensureDeferred
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from twistedkv.history.search import check_by_search
from twistedkv.history.witness import check_by_versions
from twistedkv.recording.lanes import Habits, read_all
from twistedkv.simulation.cluster import Cluster, Shape
from twistedkv.simulation.coverage import of_journal
from twistedkv.simulation.faults.drawing import Fault, draw_faults
from twistedkv.simulation.faults.injection import Faults
from twistedkv.simulation.invariants.every import Invariants
from twistedkv.simulation.network import Weather
from twistedkv.simulation.probes import counting
from twistedkv.simulation.rest import differences
from twistedkv.simulation.timeline import Killed, Timeline
from twistedkv.simulation.workload import Workload

HEAL_SECONDS_MAX = 60.0
END_SECONDS_MAX = 30.0
FORM_SECONDS_MAX = 30.0
DEFAULT_SECONDS = 20.0
OPERATIONS_A_SECOND = (60, 200, 500)
"""What all clients together would do if answers took no time: enough to have several under way at any fault, and few
enough for the search."""


@attrs.define
class Outcome:
    """What a run was, and what was found wrong."""

    seed: int
    digest: str = ""
    simulated_seconds: float = 0.0
    events: int = 0
    operations: int = 0
    acknowledged: int = 0
    unknown: int = 0
    healed_after: float = 0.0
    """Seconds from the end of the faults until everything was whole."""
    took_seconds: float = 0.0
    """Of real time."""
    undecided: int = 0
    """Keys for which the search took too long."""
    counts: dict[str, int] = attrs.Factory(dict)
    """Of faults, and of the events in the coordinator's journal."""
    problems: list[str] = attrs.Factory(list)
    configuration: dict[str, Any] = attrs.Factory(dict)
    """What the seed has drawn, but for the faults."""
    story: list[tuple[float, str]] = attrs.Factory(list)
    workload: Workload | None = None

    def as_text(self) -> str:
        """One line."""
        return (
            f"seed {self.seed}: digest {self.digest}, {self.simulated_seconds:.0f} s, {self.events} events, "
            f"{self.acknowledged} operations acknowledged, {self.unknown} unknown, "
            f"{self.counts.get('shard.promoted', 0)} failovers, healed after {self.healed_after:.1f} s"
        )


@implementer(ILogObserver)
class _Errors:
    """Errors that are logged: nobody should see any, whatever fails around the program."""

    EXPECTED = (
        "a step of the coordinator failed",
        "was not admitted",
        "the map store cannot be",
        "its store has failed",
        "waits until there is room",
        "could not be started",
        "has failed to start",
    )
    """What the faults of stores make the programs say."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def __call__(self, event: dict[str, Any]) -> None:
        if event.get("log_level") not in (LogLevel.error, LogLevel.critical):
            return
        failure = event.get("log_failure")
        text = formatEvent(event)
        if (failure is not None and failure.check(Killed, OSError)) or any(part in text for part in self.EXPECTED):
            return
        if failure is None and text.startswith("Unhandled error in Deferred"):
            return  # its failure is the next event
        trace = "" if failure is None else "\n" + failure.getTraceback()
        self._timeline.problems.append(f"{self._timeline.now:.6f} logged: {text}{trace}")


def draw_shape(timeline: Timeline) -> Shape:
    """A cluster of some kind."""
    chance = timeline.stream("shape")
    copies = chance.choice((2, 2, 2, 3))
    return Shape(
        servers=chance.randint(copies, 5),
        copies=copies,
        shards=chance.choice((1, 3, 6, 12)),
        heartbeat_seconds=chance.choice((0.1, 0.2, 0.2, 0.5)),
        clients=chance.randint(2, 4),
        clock_error=chance.choice((0.0, 0.01, 0.13)),
        spawns=chance.random() < 0.3,
        standbys=chance.choice((0, 0, 1)),
        line_clients=chance.choice((1, 1, 2)),
        durable=chance.random() < 0.4,
    )


def calm_weather(chance: random.Random) -> Weather:
    """A network in good order, of some kind."""
    low, high = chance.choice(((0.00005, 0.0005), (0.0002, 0.002), (0.001, 0.01)))
    return Weather(
        latency_seconds_min=low,
        latency_seconds_max=high,
        jitter=chance.choice((0.0, 0.5, 3.0)),
        loss=chance.choice((0.0, 0.0, 0.001)),
        pieces=chance.choice((0.0, 0.2, 0.8)),
        window_bytes=chance.choice((2_000, 16_000, 128_000)),
    )


def faults_of(seed: int, seconds: float = DEFAULT_SECONDS) -> list[Fault]:
    """The faults that a run of this seed is drawn."""
    timeline = Timeline(seed)
    return draw_faults(timeline, seconds, timeline.stream("pace").choice((0.1, 0.3, 1.0)))


def simulate(seed: int, seconds: float = DEFAULT_SECONDS, faults: list[Fault] | None = None) -> Outcome:
    """Run one seed, with faults for so many simulated seconds. `faults`: these, in place of those drawn."""
    timeline = Timeline(seed)
    errors = _Errors(timeline)
    globalLogPublisher.addObserver(errors)
    try:
        counts: dict[str, int] = {}
        run = _Run(timeline, seed, seconds, faults)
        with counting(counts), run.invariants.around():
            outcome = run.outcome()
        outcome.counts |= counts
        outcome.counts |= {f"looked at: {name}": count for name, count in run.invariants.watch.looked.items()}
        gc.collect()
        outcome.problems = list(timeline.problems)
    finally:
        globalLogPublisher.removeObserver(errors)
    return outcome


class _Run:
    def __init__(self, timeline: Timeline, seed: int, seconds: float, faults: list[Fault] | None) -> None:
        self.timeline = timeline
        self.seconds = seconds
        shape = draw_shape(timeline)
        chance = timeline.stream("habits")
        lanes = chance.randint(1, 3)
        habits = Habits(
            lanes=lanes,
            think_seconds=shape.clients * lanes / chance.choice(OPERATIONS_A_SECOND),
            impatient=chance.choice((0.0, 0.1, 0.3)),
            reads=chance.choice((0.2, 0.5, 0.7)),
        )
        self.cluster = Cluster(timeline, shape, calm_weather(timeline.stream("weather")))
        self.invariants = Invariants(self.cluster)
        self.workload = Workload(timeline, habits, self.invariants.answered)
        self.faults = Faults(self.cluster, self.workload)
        self.drawn = faults_of(seed, seconds) if faults is None else faults
        parts: dict[str, Any] = {"cluster": shape, "clients": habits, "network": self.cluster.network.weather}
        self.result = Outcome(seed, configuration={name: attrs.asdict(part) for name, part in parts.items()})
        timeline.tell(f"{shape}, {habits}")

    def outcome(self) -> Outcome:
        """Run, and judge."""
        result, timeline, workload = self.result, self.timeline, self.workload
        if self._form():
            self._disturb()
            if self._heal():
                self._read_everything()
                self._end()
        result.digest = timeline.digest
        result.simulated_seconds = timeline.now
        result.events = timeline.events
        records = workload.history.relevant
        result.operations = len(records)
        result.acknowledged = sum(record.result == "ok" for record in records)
        result.unknown = sum(record.result == "info" for record in records)
        result.counts |= of_journal(self.cluster.disk.journal)
        for kind, count in self.faults.done.items():
            result.counts[f"fault: {kind}"] = count
        result.counts["coordinator started again"] = self.cluster.disk.generation - 1
        result.counts["unknown outcome"] = result.unknown
        self._check_history()
        result.story = timeline.story
        result.workload = workload
        return result

    def _form(self) -> bool:
        chance = self.timeline.stream("start")
        cluster = self.cluster
        self.timeline.at(chance.uniform(0, 0.5), cluster.start_coordinator)
        for server_id in cluster.shape.server_ids:
            if not cluster.shape.spawned(server_id):
                self.timeline.at(chance.uniform(0, 0.5), cluster.start_server, server_id)
        self.timeline.run_until(0.5)
        if not self.timeline.run_while(lambda: not cluster.serving, FORM_SECONDS_MAX):
            self._wrong("the cluster was not formed")
            return False
        for number in range(1, cluster.shape.clients + 1):
            self.workload.run_client(cluster.start_client(number))
        for number in range(1, cluster.shape.line_clients + 1):
            self.workload.run_client(cluster.start_line_client(number))
        return True

    def _disturb(self) -> None:
        self.faults.schedule(self.drawn)
        self.timeline.run_until(self.timeline.now + self.seconds)
        self.faults.end()

    def _heal(self) -> bool:
        timeline, workload = self.timeline, self.workload
        ended = timeline.now
        # Clients go on for a while: the cluster has to heal under load.
        timeline.at(timeline.now + 2.0, self._stop_clients)
        whole = timeline.run_while(self._unhealed, HEAL_SECONDS_MAX)
        self.result.healed_after = timeline.now - ended
        if not whole:
            if workload.unfinished:
                self._wrong("some operation of a client has not ended")
            for difference in differences(self.cluster):
                self._wrong(f"not healed {HEAL_SECONDS_MAX:.0f} s after the end of the faults: {difference}")
        return whole

    def _unhealed(self) -> bool:
        return not self.workload.stopping or self.workload.unfinished or bool(differences(self.cluster))

    def _stop_clients(self) -> None:
        self.workload.stopping = True

    def _read_everything(self) -> None:
        process = self.cluster.start_client(99)
        self.timeline.run_until(self.timeline.now + 0.01)
        reading: Any = ensureDeferred(
            read_all(process.program.client, self.workload.history, self.workload.history.keys())
        )
        reading.addErrback(lambda failure: self._wrong(f"a last read failed: {failure.getErrorMessage()}"))
        if not self.timeline.run_while(lambda: not reading.called, END_SECONDS_MAX):
            self._wrong("the last reads do not end")

    def _end(self) -> None:
        processes = list(self.cluster.processes.values())
        self.timeline.stream("end").shuffle(processes)
        for process in processes:
            if process.alive:
                process.reactor.callLater(0, process.end)
        if not self.timeline.run_while(lambda: any(process.alive for process in processes), END_SECONDS_MAX):
            names = [process.name for process in processes if process.alive]
            self._wrong(f"does not end: {', '.join(names)}")

    def _check_history(self) -> None:
        records = self.workload.history.relevant
        for violation in check_by_versions(records):
            self.timeline.problems.append(f"history, by versions: {violation}")
        violations, undecided = check_by_search(records)
        for violation in violations:
            self.timeline.problems.append(f"history, by search: {violation}")
        self.result.undecided = len(undecided)

    def _wrong(self, text: str) -> None:
        self.timeline.problems.append(f"{self.timeline.now:.6f} {text}")
