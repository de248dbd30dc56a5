"""Options of the three daemons: what they are, where they come from, and what is allowed.

Each subcommand has one table of knobs; flags, the TOML file and the documentation in `etc/` are all that
table. Flags win over the file, the file wins over the defaults. Whatever is wrong becomes one
ConfigurationError that names the file, the key, and what is expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import attrs

from twistedkv.errors import ConfigurationError
from twistedkv.limits import (
    CLUSTER_NAME_BYTES_MAX,
    COPIES_MAX,
    HEARTBEAT_SECONDS,
    HOST_BYTES_MAX,
    SERVERS_MAX,
    SHARDS_MAX,
    SHARDS_PER_SERVER,
)
from twistedkv.service.knobs import (
    DEFAULT_PORT,
    Knob,
    address,
    boolean,
    integer,
    one_of,
    path,
    read_options,
    seconds,
    text,
)
from twistedkv.service.space import SPACE_KNOBS, take_limits
from twistedkv.watermarks import NO_LIMITS, Limits

DEFAULT_LINE_PORT = 7379
DEFAULT_CLUSTER = "twistedkv"
REPLACE_AFTER_SECONDS = 10.0


def storage_text(engine: str, durability: str, sync_interval: float) -> str:
    """An engine, and what a power cut costs with it."""
    if engine == "memory":
        return "memory: a power cut of all copies costs everything"
    if durability == "sync":
        return f"{engine}: a power cut costs nothing"
    return f"{engine}: a power cut of all copies costs {sync_interval:g} s of writes, and those of one more fsync"


@attrs.frozen
class ServerOptions:
    """What `twistd twistedkv server` is told."""

    coordinator: tuple[str, int] = ("127.0.0.1", DEFAULT_PORT)
    """Host and port of the coordinator."""
    cluster: str = ""
    """Name of the cluster to join; empty: whichever the coordinator has."""
    server_id: int = 0
    """0: get one from the coordinator."""
    host: str = "127.0.0.1"
    """Where to listen, and the address told to others."""
    port: int = 0
    """0: a free one."""
    line_port: int = 0
    """Of the line protocol. 0: a free one."""
    moved: bool = False
    """Send line clients to the server that has their keys, instead of serving them from here."""
    line_idle_seconds: float = 0.0
    """Cut off line clients that say nothing for so long. 0: never."""
    course_port: int = 0
    """Of the original system's protocol. 0: none."""
    standby: bool = False
    """Wait to replace a failed server."""
    data_dir: Path = Path(".")
    """Where a durable store has its files, in `store`, and the dumps `server_n.primary` and `server_n.secondary` are
    written."""
    store_dir: Path | None = None
    """Of a durable store, if it is not to be in `data_dir`."""
    engine: str = "memory"
    """"memory" or "lmdb"."""
    durability: str = "sync"
    """Of a durable engine. "sync": nothing is acknowledged that is not stored. "interval": see `sync_interval`."""
    sync_interval: float = 0.1
    """With "interval": seconds between two times that everything is stored; what came since the last may be lost."""
    limits: Limits = NO_LIMITS
    """How full it may become."""
    die_with_parent: bool = False
    """Started by `cluster`: end when standard input reaches its end or the parent dies."""

    @property
    def storage(self) -> str:
        """The engine, and what a power cut costs, for people."""
        return storage_text(self.engine, self.durability, self.sync_interval)


@attrs.frozen
class CoordinatorOptions:
    """What `twistd twistedkv coordinator` and `twistd twistedkv cluster` are told."""

    cluster: str = DEFAULT_CLUSTER
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0: a free one."""
    servers: int = 3
    """The cluster is formed when so many have registered; `cluster` and `--spawn` keep so many running."""
    copies: int = 2
    min_copies: int = 1
    shards: int = 12
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    replace_after_seconds: float = REPLACE_AFTER_SECONDS
    """With no standby and no spawning: survivors take a failed server's copies over after so long."""
    base_dir: Path = Path(".cluster")
    """The map store, and logs and dumps of spawned servers."""
    ready_file: Path | None = None
    """Written when every shard is served: {"address": "host:port", "pid": n}."""
    spawn: bool = False
    """Start local servers and replace them when they fail."""
    owns_servers: bool = False
    """They are children that end with this process (`cluster`), not daemons that outlive it."""
    line_port: int = DEFAULT_LINE_PORT
    """Of the spawned server 1; the others have those that follow. 0: free ones."""
    moved: bool = False
    """See ServerOptions; for the spawned servers."""
    line_idle_seconds: float = 0.0
    """See ServerOptions; for the spawned servers."""
    course_port: int = 0
    """Of the original system's protocol, here; the spawned servers have those that follow. 0: none."""
    engine: str = "memory"
    """See ServerOptions; for the spawned servers, as the following. Their files are in `base_dir`."""
    durability: str = "sync"
    sync_interval: float = 0.1
    limits: Limits = NO_LIMITS
    """See ServerOptions; for the spawned servers."""
    servers_max: int = 0
    """Servers may be started up to so many when those that run are short of space. Less than `servers`: none."""
    accept_loss: bool = False
    """Begin with empty shards where a killed run took the data with it."""


def _server_id(value: Any) -> int:
    if isinstance(value, str):
        value = value.removeprefix("server_")
    return integer(0, SERVERS_MAX)(value)


_HOST = text("a host name or address", HOST_BYTES_MAX)
_NAME = text(f"a name of 1 to {CLUSTER_NAME_BYTES_MAX} bytes", CLUSTER_NAME_BYTES_MAX)
_ANY_NAME = text(f"a name of at most {CLUSTER_NAME_BYTES_MAX} bytes", CLUSTER_NAME_BYTES_MAX, least=0)
_PORT = integer(0, 65535)

_LINE_KNOBS = (
    Knob("moved", boolean, "answer line clients MOVED for keys of other servers, instead of forwarding", flag=True),
    Knob("line-idle", seconds(0, 86400 * 365), "seconds after which a silent line client is cut off [0: never]"),
)

_STORAGE_KNOBS = (
    Knob("engine", one_of("memory", "lmdb"), "memory, or lmdb: on disk, safe in power cuts [memory]"),
    Knob("durability", one_of("sync", "interval"), "lmdb: acknowledge what is stored (sync), or sooner [sync]"),
    Knob("sync-interval", seconds(0.001, 60), "with interval: seconds of writes that a crash may cost [0.1]"),
)

_SPACE_KNOBS = tuple(Knob(*each) for each in SPACE_KNOBS)

SERVER_KNOBS = (
    Knob("coordinator", address, "host:port of the coordinator [127.0.0.1:7400]", short="c"),
    Knob("cluster", _ANY_NAME, "name of the cluster to join [whichever the coordinator has]"),
    Knob("id", _server_id, "this server's id [0: the coordinator gives one]"),
    Knob("host", _HOST, "address to listen on and to tell others [127.0.0.1]"),
    Knob("port", _PORT, "port to listen on [0: a free one]", short="p"),
    Knob("line-port", _PORT, "port for telnet, redis-cli and the like [0: a free one]"),
    *_LINE_KNOBS,
    Knob("course-port", _PORT, "port for clients of the original system [0: none]"),
    Knob("standby", boolean, "wait to replace a failed server", flag=True),
    *_STORAGE_KNOBS,
    Knob("data-dir", path, "where lmdb has its files (in store), and dumps are written [.]"),
    Knob("store-dir", path, "where lmdb has its files, if elsewhere"),
    *_SPACE_KNOBS,
    Knob("die-with-parent", boolean, "end when the parent process or standard input ends", flag=True),
)

_COORDINATOR_KNOBS = (
    Knob("cluster", _NAME, f"name of the cluster [{DEFAULT_CLUSTER}]"),
    Knob("host", _HOST, "address to listen on [127.0.0.1]"),
    Knob("port", _PORT, f"port to listen on, 0 for a free one [{DEFAULT_PORT}]", short="p"),
    Knob("servers", integer(1, SERVERS_MAX), "servers that form the cluster [3]", short="s"),
    Knob("copies", integer(1, COPIES_MAX), "copies of each shard [2]"),
    Knob("min-copies", integer(1, COPIES_MAX), "fewer copies than this refuse writes [1]"),
    Knob("shards", integer(1, SHARDS_MAX), f"shards [{SHARDS_PER_SERVER} for each server]"),
    Knob("heartbeat", seconds(0.02, 60), f"seconds between heartbeats [{HEARTBEAT_SECONDS}]"),
    Knob(
        "replace-after",
        seconds(0, 86400),
        f"seconds until survivors take over a failed server's copies [{REPLACE_AFTER_SECONDS:g}]",
    ),
    Knob("line-port", _PORT, f"line port of server 1, one more for each other [{DEFAULT_LINE_PORT}]; 0: free ones"),
    *_LINE_KNOBS,
    Knob("course-port", _PORT, "port for clients of the original system, one more for each spawned server [0: none]"),
    *_STORAGE_KNOBS,
    *_SPACE_KNOBS,
    Knob(
        "servers-max",
        integer(0, SERVERS_MAX),
        "servers to start at most, when those that run are short of space [0: no more than servers]",
    ),
    Knob("base-dir", path, "directory of the map store, the logs, and the servers' data [.cluster]", short="b"),
    Knob("ready-file", path, "file to write when every shard is served"),
)
COORDINATOR_KNOBS = (
    *_COORDINATOR_KNOBS,
    Knob("spawn", boolean, "start local servers, and replace them when they fail", flag=True),
)
CLUSTER_KNOBS = (
    *_COORDINATOR_KNOBS,
    Knob("accept-loss", boolean, "begin empty where a killed run took the data with it", flag=True),
)


def server_options(given: Mapping[str, Any], file: str | None = None) -> ServerOptions:
    """Options of `server` from flags (by name) and perhaps a TOML file. Raises ConfigurationError."""
    values = read_options(given, SERVER_KNOBS, file)
    if "id" in values:
        values["server_id"] = values.pop("id")
    if "line_idle" in values:
        values["line_idle_seconds"] = values.pop("line_idle")
    take_limits(values)
    return ServerOptions(**values)


def coordinator_options(given: Mapping[str, Any], file: str | None = None) -> CoordinatorOptions:
    """Options of `coordinator` from flags (by name) and perhaps a TOML file. Raises ConfigurationError."""
    return _coordinator(read_options(given, COORDINATOR_KNOBS, file))


def cluster_options(given: Mapping[str, Any], file: str | None = None) -> CoordinatorOptions:
    """Options of `cluster` from flags (by name) and perhaps a TOML file. Raises ConfigurationError."""
    return _coordinator({**read_options(given, CLUSTER_KNOBS, file), "spawn": True, "owns_servers": True})


def _check_ports(options: CoordinatorOptions) -> None:
    """Raise ConfigurationError if two of those that listen on this machine were to have the same port."""
    most = max(options.servers, options.servers_max)
    wanted = (
        ("port", options.port, 1),
        ("line-port", options.line_port, most),
        ("course-port", options.course_port, most + 1),
    )
    ranges = [(name, range(first, first + count)) for name, first, count in wanted if first]
    for (name, ports), (other, more) in combinations(ranges, 2):
        if ports.start < more.stop and more.start < ports.stop:
            said = f"{ports.start}" if len(ports) == 1 else f"{ports.start} to {ports[-1]}"
            raise ConfigurationError(
                f"{other}: {more.start} to {more[-1]} and {name} {said} overlap: choose another {other}, or 0"
            )


def _coordinator(values: dict[str, Any]) -> CoordinatorOptions:
    if "heartbeat" in values:
        values["heartbeat_seconds"] = values.pop("heartbeat")
    if "replace_after" in values:
        values["replace_after_seconds"] = values.pop("replace_after")
    if "line_idle" in values:
        values["line_idle_seconds"] = values.pop("line_idle")
    if "shards" not in values:
        values["shards"] = min(SHARDS_PER_SERVER * values.get("servers", 3), SHARDS_MAX)
    take_limits(values)
    options = CoordinatorOptions(**values)
    most = max(options.servers, options.servers_max)
    for name, port in (("line-port", options.line_port), ("course-port", options.course_port)):
        if port + most > 65535:
            raise ConfigurationError(f"{name}: {port} leaves no ports for {most} servers: choose a smaller one")
    if options.spawn:
        _check_ports(options)
    if options.copies > options.servers:
        raise ConfigurationError(
            f"copies: {options.copies} copies need as many servers, but servers is {options.servers}: "
            "ask for fewer copies or more servers"
        )
    if options.min_copies > options.copies:
        raise ConfigurationError(
            f"min-copies: expected at most copies, which is {options.copies}, got {options.min_copies}"
        )
    return options
