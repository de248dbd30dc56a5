"""A cluster in memory with the methods of `twistedkv.blocking.Client`, and a way to run the command line on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from twistedkv.cli import main
from twistedkv.client.results import CopyCheck, Incremented, PartialFailure, Value
from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.core.entries import encode_records
from twistedkv.errors import InvalidRequest, NotAnInteger, Unavailable, VersionMismatch
from twistedkv.limits import SLOTS
from twistedkv.messages.client import BackupPage, ScanItem
from twistedkv.records import make_expiring_record, make_record

COORDINATOR = "127.0.0.1:7400"


def example_map() -> ClusterMap:
    """Three servers, two shards; shard 1 is lost and being filled at the same time, so that every column shows."""
    members = {i: Member(i, bytes([i]) * 16) for i in (1, 2, 3)}
    servers = {
        i: Server(i, member.store_id, "127.0.0.1", 7400 + i, ServerState.ACTIVE, pid=100 + i)
        for i, member in members.items()
    }
    shards = (
        Configuration(0, 0, 8191, 1, 1, members[1], (members[2],), (), False, False, (1, 2)),
        Configuration(1, 8192, 16383, 4, 1, members[2], (), (members[3],), False, True, (2, 3)),
    )
    return ClusterMap("test", 7, 2, 1, 200, MappingProxyType(servers), shards)


class FakeClient:
    """The client of a cluster of servers 1 (primary) and 2 (secondary)."""

    def __init__(self) -> None:
        self.data: dict[bytes, Value] = {}
        self.expiries: dict[bytes, int] = {}
        """In milliseconds since 1970, of the keys that expire."""
        self.copies: dict[int, dict[bytes, Value]] = {}
        """What a server holds that differs from `data`."""
        self.failures: dict[bytes, Exception] = {}
        """Errors of all operations on a key."""
        self.reachable = True
        self.answers: dict[str, dict[str, Any] | Exception | Callable[..., dict[str, Any]]] = {}
        """To admin commands."""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.followed: list[dict[str, Any]] = []
        """Events that come while the journal is followed; then the user presses Ctrl-C."""
        self.puts: list[Mapping[bytes, bytes]] = []
        self.opened: list[tuple[Sequence[str], float]] = []
        self.closed = 0
        self.noops = 0
        self._version = 0
        self._map = ClusterMap.empty()

    def open(self, coordinators: Sequence[str], deadline: float) -> FakeClient:
        """As the command line opens a client."""
        self.opened.append((coordinators, deadline))
        return self

    def close(self) -> None:
        self.closed += 1

    @property
    def cluster_map(self) -> ClusterMap:
        return self._map

    def refresh(self, *, deadline: float | None = None) -> ClusterMap:
        if not self.reachable:
            raise Unavailable("no coordinator and no server answered")
        self._map = example_map()
        return self._map

    def noop(self, server: int | None = None, *, deadline: float | None = None) -> None:
        self.noops += 1

    def get(self, key: bytes, *, deadline: float | None = None) -> Value | None:
        self._fail(key)
        return self.data.get(key)

    def put(self, key: bytes, value: bytes, *, deadline: float | None = None) -> int:
        self._fail(key)
        self._version += 1
        self.data[key] = Value(value, self._version)
        return self._version

    def delete(self, key: bytes, *, deadline: float | None = None) -> int | None:
        self._fail(key)
        if self.data.pop(key, None) is None:
            return None
        self._version += 1
        return self._version

    def cas(self, key: bytes, value: bytes, expected: int, *, deadline: float | None = None) -> int:
        self._fail(key)
        found = self.data[key].version if key in self.data else 0
        if found != expected:
            raise VersionMismatch("another version", found)
        return self.put(key, value)

    def incr(self, key: bytes, delta: int = 1, *, deadline: float | None = None) -> Incremented:
        self._fail(key)
        try:
            total = int(self.data[key].value if key in self.data else b"0") + delta
        except ValueError:
            raise NotAnInteger("the value is no 64-bit integer") from None
        return Incremented(total, self.put(key, str(total).encode()))

    def verify(
        self, key: bytes, value: bytes | None, server: int | None = None, *, deadline: float | None = None
    ) -> list[CopyCheck]:
        self._fail(key)
        if server not in (None, 1, 2):
            raise InvalidRequest(f"server {server} holds no copy of the key")
        checks = []
        for holder, role in ((1, "primary"), (2, "secondary")):
            if server in (None, holder):
                held = self.copies.get(holder, {}).get(key) or self.data.get(key)
                held_value = None if held is None else held.value
                version = 0 if held is None else held.version
                checks.append(CopyCheck(holder, role, held_value == value, held_value, version))
        return checks

    def mget(self, keys: Iterable[bytes], *, deadline: float | None = None) -> dict[bytes, Value | None]:
        return {key: self.get(key) for key in keys}

    def mput(self, mapping: Mapping[bytes, bytes], *, deadline: float | None = None) -> dict[bytes, int]:
        self.puts.append(mapping)
        failed = {key: self.failures[key] for key in mapping if key in self.failures}
        done = {key: self.put(key, value) for key, value in mapping.items() if key not in failed}
        if failed:
            raise PartialFailure("some keys failed", done, failed)
        return done

    def scan(
        self, prefix: bytes = b"", *, values: bool = False, page: int = 1000, deadline: float | None = None
    ) -> Iterator[ScanItem]:
        for key, held in list(self.data.items()):
            if key.startswith(prefix):
                self._fail(key)
                yield ScanItem(key, held.version, held.value if values else b"")

    def apply(self, changes: Mapping[bytes, tuple[bytes | None, int]], *, deadline: float | None = None) -> None:
        failed = {key: self.failures[key] for key in changes if key in self.failures}
        for key, (value, expiry) in changes.items():
            if key in failed:
                continue
            self.expiries.pop(key, None)
            if value is None:
                self.delete(key)
            else:
                self.put(key, value)
                if expiry:
                    self.expiries[key] = expiry
        if failed:
            raise PartialFailure("some keys failed", {}, failed)

    def backup_records(
        self, slot: int, after: bytes = b"", pin: int = 0, prefix: bytes = b"", *, deadline: float | None = None
    ) -> BackupPage:
        """A page for each key, in no order."""
        keys = [key for key in self.data if key.startswith(prefix)]
        if slot >= len(keys):
            return BackupPage(0, SLOTS, b"", encode_records([], []))
        key = keys[slot]
        self._fail(key)
        held, expiry = self.data[key], self.expiries.get(key, 0)
        record = (
            make_expiring_record(held.version, expiry, held.value)
            if expiry
            else make_record(held.version, 0, held.value)
        )
        return BackupPage(0, slot + 1, b"", encode_records([key], [record]))

    def admin(self, command: str, *, deadline: float | None = None, **arguments: Any) -> dict[str, Any]:
        if not self.reachable:
            raise Unavailable("the coordinator did not answer")
        self.asked.append((command, arguments))
        answer = self.answers[command]
        if isinstance(answer, Exception):
            raise answer
        return answer(**arguments) if callable(answer) else answer

    def admin_follow(self, *, after: int = 0) -> Iterator[dict[str, Any]]:
        yield from (event for event in self.followed if event["number"] > after)
        raise KeyboardInterrupt

    def _fail(self, key: bytes) -> None:
        if key in self.failures:
            raise self.failures[key]


def run(client: FakeClient, *args: str, stdin: str | bytes | None = None) -> Result:
    """Run `twistedkv ARGS`. Errors that the command line should have dealt with are raised."""
    result = CliRunner().invoke(main, args, input=stdin, obj=client.open)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert client.closed == len(client.opened), "the client was not closed"
    return result


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a person were looking."""
    for module in ("data", "many", "bulk", "backup", "status", "admin", "replay"):
        monkeypatch.setattr(f"twistedkv.cli.{module}.is_terminal", lambda stream=None: True)


def one_sentence(result: Result) -> str:
    """What stands on standard error, which must be one line."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    return click.unstyle(lines[0].removeprefix("Error: "))
