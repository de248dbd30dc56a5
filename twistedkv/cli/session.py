"""What commands share: the options of the connection, the client they lead to, the exit codes of errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import click

from twistedkv.clustermap import ClusterMap
from twistedkv.errors import (
    NOT_FORMED,
    ConfigurationError,
    Damaged,
    InvalidRequest,
    OutcomeUnknown,
    ShardLost,
    TwistedKVError,
    Unavailable,
)
from twistedkv.limits import DEADLINE_SECONDS
from twistedkv.messages.client import BackupBegun, BackupEntries, BackupPage

_Command = TypeVar("_Command", bound=Callable[..., Any])

COORDINATOR_DEFAULT = "127.0.0.1:7400"
COORDINATOR_VARIABLE = "TWISTEDKV_COORDINATOR"

DONE = 0
NEGATIVE = 1
USAGE = 2
NOT_DONE = 3
UNKNOWN = 4

CONNECT_SECONDS_MAX = 2.0
"""Effect: how long a command looks for a cluster when no --deadline is given. Longer outlasts a coordinator's
restart, shorter tells a user sooner that nothing runs."""


class ValueRead(Protocol):
    """What a read returns."""

    @property
    def value(self) -> bytes:
        """The value."""

    @property
    def version(self) -> int:
        """The version of the key."""


class SumStored(Protocol):
    """What INCR returns."""

    @property
    def value(self) -> int:
        """The sum."""

    @property
    def version(self) -> int:
        """The version of the key."""


class CopyChecked(Protocol):
    """What VERIFY found on one copy."""

    @property
    def server(self) -> int:
        """The server's id."""

    @property
    def role(self) -> str:
        """`primary` or `secondary`."""

    @property
    def matches(self) -> bool:
        """Whether the copy holds what was expected."""

    @property
    def value(self) -> bytes | None:
        """What the copy holds; None if it holds nothing."""

    @property
    def version(self) -> int:
        """The version of what it holds; 0 if it holds nothing."""


class KeyListed(Protocol):
    """One key of a scan."""

    @property
    def key(self) -> bytes:
        """The key."""

    @property
    def version(self) -> int:
        """Its version."""

    @property
    def value(self) -> bytes:
        """Its value; empty unless values were asked for."""


class Store(Protocol):
    """The part of `twistedkv.blocking.Client` that the command line uses; the tests have one in memory."""

    @property
    def cluster_map(self) -> ClusterMap:
        """The newest map known."""

    def refresh(self, *, deadline: float | None = None) -> Any:
        """Ask for the map."""

    def noop(self, server: int | None = None, *, deadline: float | None = None) -> Any:
        """Ask a server for a sign of life."""

    def get(self, key: bytes, *, deadline: float | None = None) -> ValueRead | None:
        """Read."""

    def put(self, key: bytes, value: bytes, *, deadline: float | None = None) -> int:
        """Store; the version."""

    def delete(self, key: bytes, *, deadline: float | None = None) -> int | None:
        """Remove; the deletion's version, or None if there was nothing."""

    def cas(self, key: bytes, value: bytes, expected: int, *, deadline: float | None = None) -> int:
        """Store if the version is the expected one (0: if the key does not exist)."""

    def incr(self, key: bytes, delta: int = 1, *, deadline: float | None = None) -> SumStored:
        """Add."""

    def verify(
        self, key: bytes, value: bytes | None, server: int | None = None, *, deadline: float | None = None
    ) -> Sequence[CopyChecked]:
        """Compare."""

    def mget(self, keys: Iterable[bytes], *, deadline: float | None = None) -> Mapping[bytes, ValueRead | None]:
        """Read many."""

    def mput(self, mapping: Mapping[bytes, bytes], *, deadline: float | None = None) -> Mapping[bytes, int]:
        """Store many."""

    def scan(self, prefix: bytes = b"", *, values: bool = False, page: int = 1000) -> Iterator[KeyListed]:
        """List."""

    def apply(self, changes: Mapping[bytes, tuple[bytes | None, int]], *, deadline: float | None = None) -> None:
        """Store keys, some of which expire, or delete them."""

    def backup_begin(self, slot: int, *, deadline: float | None = None) -> BackupBegun:
        """Have the log of a shard kept."""

    def backup_records(
        self, slot: int, after: bytes = b"", pin: int = 0, prefix: bytes = b"", *, deadline: float | None = None
    ) -> BackupPage:
        """Some of a shard's records."""

    def backup_log(self, slot: int, pin: int, after: int, *, deadline: float | None = None) -> BackupEntries:
        """Some of a shard's log."""

    def backup_end(self, slot: int, pin: int, *, deadline: float | None = None) -> None:
        """Have the log kept no longer."""

    def admin(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Ask the coordinator."""

    def admin_follow(self, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """The journal's events above a number, as they come, without end."""

    def close(self) -> None:
        """End."""


OpenClient = Callable[[Sequence[str], float], Store]
"""Opens a client, from coordinator addresses and a deadline in seconds."""


class Negative(click.ClickException):
    """The operation was done, and its answer is no. As all of these: one sentence on standard error."""

    exit_code = NEGATIVE


class InputFailure(click.ClickException):
    """The input is wrong."""

    exit_code = USAGE


class NotDoneFailure(click.ClickException):
    """The operation had no effect."""

    exit_code = NOT_DONE


class UnknownFailure(click.ClickException):
    """The operation may have been executed."""

    exit_code = UNKNOWN


FAILURES: Mapping[int, type[click.ClickException]] = {
    failure.exit_code: failure for failure in (Negative, InputFailure, NotDoneFailure, UnknownFailure)
}


class Session:
    """One run of the command line. The client is opened when it is first needed."""

    def __init__(self, coordinator: str, deadline: float | None, open_client: OpenClient | None = None) -> None:
        self.coordinator = coordinator
        self.deadline = deadline
        """Seconds; None when the user has not said."""
        self._open_client = open_client or open_blocking_client
        self._client: Store | None = None

    @property
    def deadline_seconds(self) -> float:
        """For each operation."""
        return DEADLINE_SECONDS if self.deadline is None else self.deadline

    @property
    def connect_seconds(self) -> float:
        """How long to look for a cluster that does not answer."""
        return min(DEADLINE_SECONDS, CONNECT_SECONDS_MAX) if self.deadline is None else self.deadline

    @property
    def client(self) -> Store:
        """A client; perhaps no connection has been tried yet."""
        if self._client is None:
            self._client = self._open_client(self.coordinator.split(","), self.deadline_seconds)
        return self._client

    @property
    def store(self) -> Store:
        """A client that knows the cluster map. Raises Failure when no cluster answers."""
        client = self.client
        if not client.cluster_map.shards:
            client.refresh(deadline=self.connect_seconds)
        return client

    def ask(self, command: str, deadline: float | None = None, **arguments: Any) -> dict[str, Any]:
        """Ask the coordinator something, by default for as long as a cluster may take to answer at all."""
        return self.client.admin(command, deadline=deadline or self.connect_seconds, **arguments)

    def command(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Have the coordinator do something, which may take until the deadline."""
        return self.store.admin(command, deadline=self.deadline_seconds, **arguments)

    def knows_the_cluster(self) -> bool:
        """Whether any map has been received."""
        return self._client is not None and self._client.cluster_map.version > 0

    def close(self) -> None:
        """Close the client, if one was opened."""
        if self._client is not None:
            self._client.close()
            self._client = None


def open_blocking_client(coordinators: Sequence[str], deadline: float) -> Store:
    """The real client. Imported here, because it brings Twisted along."""
    from twistedkv.blocking import Client

    client: Store = Client(list(coordinators), deadline=deadline)
    return client


pass_session = click.make_pass_decorator(Session)


def connection_options(defaults: bool = False) -> Callable[[_Command], _Command]:
    """`--coordinator` and `--deadline`: for the group with their defaults, for a command to override them."""

    def override(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
        def store(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
            session = context.find_object(Session)
            if value is not None and session is not None:
                setattr(session, name, value)
            return value

        return store

    def decorate(command: _Command) -> _Command:
        command = click.option(
            "--deadline",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            default=None,
            expose_value=defaults,
            callback=None if defaults else override("deadline"),
            help=f"Give up an operation after so long, retries included (default {DEADLINE_SECONDS:g}).",
        )(command)
        return click.option(
            "--coordinator",
            type=_coordinators,
            metavar="HOST:PORT",
            default=COORDINATOR_DEFAULT if defaults else None,
            envvar=COORDINATOR_VARIABLE if defaults else None,
            expose_value=defaults,
            callback=None if defaults else override("coordinator"),
            help=f"Where the cluster's coordinator listens (default ${COORDINATOR_VARIABLE}, else "
            f"{COORDINATOR_DEFAULT}). Several addresses have commas between them; for keys, a server's does too.",
        )(command)

    return decorate


def _coordinators(text: str) -> str:
    for address in text.split(","):
        host, colon, port = address.rpartition(":")
        if not (host and colon and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
            raise click.BadParameter(f"{address!r} is not HOST:PORT, for example {COORDINATOR_DEFAULT}.")
    return text


def failure_of(error: TwistedKVError, session: Session | None) -> click.ClickException:
    """What to tell the user about an error, and the exit code."""
    code = exit_code_of(error)
    if isinstance(error, Unavailable) and session is not None and not session.knows_the_cluster():
        return NotDoneFailure(not_formed(session) if NOT_FORMED in str(error) else unreachable(session))
    message = str(error) or type(error).__name__
    if isinstance(error, ShardLost) and "accept-loss" not in message:
        message += "; `twistedkv admin accept-loss SHARD` makes it empty and usable"
    return FAILURES[code](message)


def exit_code_of(error: Exception) -> int:
    """The exit code for an error of an operation."""
    if isinstance(error, OutcomeUnknown):
        return UNKNOWN
    if isinstance(error, (InvalidRequest, ConfigurationError, Damaged)):
        return USAGE
    return NOT_DONE


def unreachable(session: Session) -> str:
    """What to say when no cluster answers."""
    return (
        f"cannot reach the coordinator at {session.coordinator}: start one with `make run` or "
        "`twistd -n twistedkv cluster`, or give --coordinator; for keys, the address of a server will do as well"
    )


def not_formed(session: Session) -> str:
    """What to say when there is a coordinator, and no cluster yet."""
    return (
        f"the coordinator at {session.coordinator} has no cluster yet, because too few servers have registered: "
        "start more with `twistd twistedkv server`"
    )
