"""DUMP_PRIMARY and DUMP_SECONDARY: what a server holds, in a file that a person can read.

One line for each key: slot, version as epoch.sequence, key, value, separated by tabs; in key and value a backslash, a
tab, a newline, a carriage return and every byte that is not printable ASCII is written as an escape (\\\\ \\t \\n \\r
\\xNN). Lines are in the order of slots, and of keys within a slot, so that the dumps of two copies can be compared.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator

from twistedkv.core.server import ServerCore
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.records import epoch_of, is_tombstone, record_value, record_version, sequence_of


def escaped(data: bytes) -> str:
    """Bytes as printable ASCII."""
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def dump(core: ServerCore, roles: Container[ReplicaRole], path: Path, reactor: Any) -> Deferred[Path]:
    """Write the shards in which this server has one of these roles. Fires with the absolute path.

    Slot by slot, with other work in between: each slot is as it was at one moment.
    """
    path = path.absolute()
    cooperator = Cooperator(scheduler=lambda step: reactor.callLater(0, step))
    done: Deferred[Any] = cooperator.coiterate(_write(core, roles, path))
    return done.addCallback(lambda _: path)


def _write(core: ServerCore, roles: Container[ReplicaRole], path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="ascii") as file:
        for configuration in core.map.shards:
            if core.replicas[configuration.shard].role not in roles:
                continue
            for slot in configuration.slots:
                items = core.store.items(slot)
                if not items:
                    continue
                for key, record in sorted(items):
                    if not is_tombstone(record):
                        version = record_version(record)
                        stamp = f"{epoch_of(version)}.{sequence_of(version)}"
                        file.write(f"{slot}\t{stamp}\t{escaped(key)}\t{escaped(record_value(record))}\n")
                yield
    temporary.replace(path)
