"""`twistd twistedkv coordinator | server | cluster`: the options, and the service that they ask for."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.application import service
from twisted.python import usage

from twistedkv.clock import use_monotonic_clock
from twistedkv.errors import ConfigurationError
from twistedkv.service.config import (
    CLUSTER_KNOBS,
    COORDINATOR_KNOBS,
    SERVER_KNOBS,
    CoordinatorOptions,
    ServerOptions,
    cluster_options,
    coordinator_options,
    server_options,
)
from twistedkv.service.knobs import Knob

COLLECTOR_THRESHOLDS = (100_000, 50, 100)
"""Objects made before the young ones are looked at; rounds of that before the older ones are, and the oldest."""


def _parameters(knobs: tuple[Knob, ...]) -> list[list[str | None]]:
    parameters = [[knob.name, knob.short, None, knob.help] for knob in knobs if not knob.flag]
    return [*parameters, ["config", "f", None, "TOML file with these options; flags win over it"]]


def _flags(knobs: tuple[Knob, ...]) -> list[list[str | None]]:
    return [[knob.name, knob.short, knob.help] for knob in knobs if knob.flag]


class _KnobOptions(usage.Options):
    """Flags made of a table of knobs, and `--config FILE`."""

    read: Callable[[Mapping[str, Any], str | None], Any]
    chosen: Any = None
    """The checked options, once parsed."""

    def postOptions(self) -> None:
        """Check what was given. Ends the program with one sentence when it is wrong."""
        try:
            self.chosen = type(self).read(self, self["config"])
        except ConfigurationError as error:
            raise SystemExit(f"twistedkv: {error}") from None


class CoordinatorCommand(_KnobOptions):
    """Options of `coordinator`."""

    synopsis = "[options]"
    longdesc = "The coordinator alone: servers are started elsewhere, or here with --spawn, and outlive it."
    optParameters = _parameters(COORDINATOR_KNOBS)
    optFlags = _flags(COORDINATOR_KNOBS)
    read = staticmethod(coordinator_options)


class ServerCommand(_KnobOptions):
    """Options of `server`."""

    synopsis = "[options]"
    longdesc = "A server: holds copies of shards. Joins the cluster of its coordinator."
    optParameters = _parameters(SERVER_KNOBS)
    optFlags = _flags(SERVER_KNOBS)
    read = staticmethod(server_options)


class ClusterCommand(_KnobOptions):
    """Options of `cluster`."""

    synopsis = "[options]"
    longdesc = "A coordinator and its servers on this machine, in one command. All of it ends with it."
    optParameters = _parameters(CLUSTER_KNOBS)
    optFlags = _flags(CLUSTER_KNOBS)
    read = staticmethod(cluster_options)


class Options(usage.Options):
    """`twistd twistedkv`."""

    synopsis = "coordinator | server | cluster [options]"
    subCommands = (
        ("coordinator", None, CoordinatorCommand, "Keep the map, watch the servers, heal what fails"),
        ("server", None, ServerCommand, "Hold copies of shards"),
        ("cluster", None, ClusterCommand, "A coordinator and local servers, for one machine"),
    )

    def postOptions(self) -> None:
        """One of the subcommands has to be named."""
        if self.subCommand is None:
            raise usage.UsageError("say which daemon is wanted: coordinator, server or cluster")


def makeService(options: Options) -> service.IService:
    """The service that twistd is to run."""
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    chosen = options.subOptions.chosen
    if options.subCommand == "server":
        return _server(reactor, chosen)
    return _coordinator(reactor, chosen)


def _server(reactor: Any, options: ServerOptions) -> service.IService:
    from twistedkv.line.port import LinePort
    from twistedkv.service.course import CourseFactory
    from twistedkv.service.freed import FreedMemory
    from twistedkv.service.listening import PortService
    from twistedkv.service.server import ServerService
    from twistedkv.service.stores import open_store

    server = ServerService(reactor, options, open_store=partial(open_store, options))
    reactor.callWhenRunning(spare_the_collector)
    FreedMemory(reactor).setServiceParent(server)  # type: ignore[no-untyped-call]
    line = LinePort(server, moved=options.moved, idle_seconds=options.line_idle_seconds)
    line.setServiceParent(server)  # type: ignore[no-untyped-call]
    if options.course_port:
        server.course_port = options.course_port

        def make() -> CourseFactory:
            assert line.client is not None
            return CourseFactory(reactor, lambda: line.desk.map, line.client, lambda: server.server_id)

        PortService(reactor, options.host, options.course_port, "course-port", make).setServiceParent(server)  # type: ignore[no-untyped-call]
    if options.die_with_parent:
        from twistedkv.service.parent import bind_to_parent, watch_standard_input

        bind_to_parent()
        reactor.callWhenRunning(watch_standard_input, server.end)
    return server


def _coordinator(reactor: Any, options: CoordinatorOptions) -> service.IService:
    from twistedkv.service.cluster import ClusterService
    from twistedkv.service.coordinator import CoordinatorService
    from twistedkv.service.course import CourseFactory
    from twistedkv.service.listening import PortService
    from twistedkv.service.stores import check_engine

    try:
        check_engine(options)
        coordinator = (ClusterService if options.owns_servers else CoordinatorService)(reactor, options)
    except ConfigurationError as error:
        raise SystemExit(f"twistedkv: {error}") from None
    if options.course_port:
        PortService(
            reactor,
            options.host,
            options.course_port,
            "course-port",
            lambda: CourseFactory(reactor, coordinator.whole_map, None, lambda: 0),
        ).setServiceParent(coordinator)  # type: ignore[no-untyped-call]
    return coordinator


def spare_the_collector() -> None:
    """Have Python look for cyclic garbage more rarely, and never in what the program consists of.

    A turn makes tens of thousands of objects that live to its end, and none of them in cycles: to walk through them
    again and again costs a tenth to a fifth of all writes (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
