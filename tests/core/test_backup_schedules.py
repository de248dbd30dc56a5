"""Backups under random schedules of kills, freezes, cuts and switch-overs: each is the shard at its version.

Nothing that a backup holds is ever taken back. Pins that are left behind lapse by themselves.
"""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest import mock

import pytest

from tests.support.cores import CoreCluster
from twistedkv.core import backup as module
from twistedkv.core.entries import SEVERAL, decode_entries, decode_records, records_of_update
from twistedkv.core.mailbox import Mailbox
from twistedkv.core.updates import Updates
from twistedkv.errors import Status
from twistedkv.messages.client import (
    BackupBegin,
    BackupBegun,
    BackupEntries,
    BackupLog,
    BackupPage,
    BackupRecords,
    Result,
)
from twistedkv.records import is_tombstone, record_version, sequence_of
from twistedkv.wire.client import decode_response, encode_request

BACKUP_CLIENT = bytes([200]) * 16
STEPS = 1500
PATIENCE = 30
"""So many steps a request is waited for before it is sent again."""


class BackedUp(CoreCluster):
    """The cluster, and one client that takes a backup after the other."""

    def __init__(self, seed: int, **options: Any) -> None:
        super().__init__(seed, **options)
        self.request_id = 0
        self.asked: Any = None
        self.waited = 0
        self.taken: list[tuple[int, dict[bytes, bytes]]] = []
        self.begin()

    def begin(self) -> None:
        self.pin = 0
        self.place: tuple[int, bytes] = (0, b"")
        self.version = self.needed = 0
        self.state: dict[bytes, bytes] = {}

    def backup_step(self) -> None:
        """Ask for what comes next, or once more for what was not answered."""
        if self.asked is not None and self.waited < PATIENCE:
            self.waited += 1
            return
        if self.asked is None:
            if not self.pin:
                self.asked = BackupBegin(0)
            elif self.place[0] < 16384 and self.random.random() < 0.5:
                self.asked = BackupRecords(*self.place, self.pin, b"")
            else:
                self.asked = BackupLog(0, self.pin, sequence_of(self.version))
        else:
            self.count("asked again")
        self.waited = 0
        node = self.node_of(self.configuration.primary)
        if self.random.random() < 0.1:
            node = self.random.choice(list(self.nodes.values()))
        if node is not None and self.running(node):
            self.request_id += 1
            message_type, body = encode_request(self.asked)
            mailbox = Mailbox(BACKUP_CLIENT, lambda: None)
            node.core.requests(mailbox, [(message_type, 0, self.request_id, body)])
            self.flush(node)

    def answered(self, identity: bytes, frame: tuple[int, int, int, bytes]) -> None:
        if identity != BACKUP_CLIENT:
            super().answered(identity, frame)
            return
        if self.asked is None or frame[2] != self.request_id:
            return
        answer = decode_response(frame[0], frame[3])
        if isinstance(answer, Result):
            status = Status(answer.status)
            if status is Status.LAPSED:
                self.count("lapsed")
                self.begin()
                self.asked = None
            else:
                assert status in (Status.WRONG_SERVER, Status.NOT_PRIMARY_YET)
            return
        self.asked = None
        if isinstance(answer, BackupBegun):
            self.pin, self.version, self.needed = answer.pin, answer.last, answer.last
        elif isinstance(answer, BackupPage):
            self.place = answer.next_slot, answer.next_after
            self.needed = max(self.needed, answer.last)
            self.apply(*decode_records(answer.records))
        else:
            assert isinstance(answer, BackupEntries)
            for _, key, record, kind, *_ in decode_entries(answer.entries, answer.count):
                self.version = max(self.version, record_version(record))
                self.apply(*(records_of_update(record) if kind == SEVERAL else ([key], [record])))
        if self.place[0] == 16384 and self.version >= self.needed and self.pin:
            self.count("backup")
            self.taken.append((self.version, self.state))
            self.begin()

    def apply(self, keys: list[bytes], records: list[bytes]) -> None:
        for key, record in zip(keys, records, strict=True):
            if is_tombstone(record):
                self.state.pop(key, None)
            else:
                self.state[key] = record


def run(seed: int, copies: int, servers: int) -> Counter[str]:
    """One random run; every backup is compared with the log of all that was ever committed."""
    made: dict[int, tuple[int, bytes]] = {}
    """By sequence: version and entry of the update that is there in the end."""
    log = Updates._log

    def noted(self: Updates, version: int, entry: bytes) -> None:
        sequence = sequence_of(version)
        if sequence not in made or made[sequence][0] < version:
            made[sequence] = version, entry
        log(self, version, entry)

    with (
        mock.patch.object(Updates, "_log", noted),
        mock.patch.object(module, "BACKUP_PAGE_BYTES", 120),
        mock.patch.object(module, "BACKUP_PIN_SECONDS_MAX", 3.0),
    ):
        cluster = BackedUp(seed, servers=servers, copies=copies)
        cluster.connect()
        for _ in range(STEPS):
            if cluster.random.random() < 0.02:
                cluster.fault()
            if cluster.random.random() < 0.3:
                cluster.backup_step()
            cluster.step()
        cluster.settle()
        cluster.check_equal()
    for version, state in cluster.taken:
        expected: dict[bytes, bytes] = {}
        for sequence in range(1, sequence_of(version) + 1):
            assert made[sequence][0] <= version, "the backup has an update that was not committed"
            [(_, key, record, kind, *_)] = decode_entries(made[sequence][1], 1)
            keys, records = records_of_update(record) if kind == SEVERAL else ([key], [record])
            for each, its_record in zip(keys, records, strict=True):
                if is_tombstone(its_record):
                    expected.pop(each, None)
                else:
                    expected[each] = its_record
        assert state == expected, f"a backup is not the shard at {version}"
    return Counter(cluster.seen)


@pytest.mark.parametrize(("copies", "servers"), [(2, 4), (3, 5)])
def test_backups_under_random_schedules(copies: int, servers: int) -> None:
    """And the schedules are not empty of what matters."""
    seen: Counter[str] = Counter()
    for seed in range(25):
        try:
            seen.update(run(seed, copies, servers))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {copies} copies: {error}") from error
    for what in ("failover", "switch", "backup", "lapsed", "asked again", "kill", "freeze"):
        assert seen[what] > 5, f"too little of this: {what} (seen: {dict(seen)})"
