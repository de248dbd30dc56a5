"""A shard's primary towards its clients: executing requests, and who waits for what.

Read rule (I7, I13): only committed state is read, and only while the lease is valid *after* the value was read. A read
of a key whose newest update is not committed waits for that commit and returns that update's value, which was the
key's value at the moment of the commit. A read without a lease waits for the next acknowledgement: if that gives a
lease in the same epoch, no member can have been sealed in between, so nobody else can have served.

Write rule: a write is given the next sequence, applied, and answered when it is committed. Before it is given one, it
is looked up in the dedup table (I12), and everything that can refuse it is asked: whether there are copies enough, and
whether there is room (`core.room`).

Requests that come while the shard is about to be served, here (RECONCILING) or elsewhere (SWITCHING, STEPPED_DOWN), are
parked, bounded in number and time; they have had no effect, and are executed here or sent away later, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twistedkv.core.backup import Backup
from twistedkv.core.dedup import Lookup
from twistedkv.core.mailbox import Mailbox, Outbox
from twistedkv.core.reading import Reading
from twistedkv.core.room import Room
from twistedkv.core.scan import scan_page
from twistedkv.core.shardkeys import NOT_OF_ONE_SHARD, ShardKeys
from twistedkv.core.updates import incremented
from twistedkv.errors import DamagedRecord, Status
from twistedkv.limits import PARKED_REQUESTS_MAX, SEQUENCE_MAX, WRITE_WINDOW
from twistedkv.messages.client import (
    BackupRequest,
    Cas,
    Delete,
    Execute,
    ExecuteMode,
    Get,
    GetMany,
    Incr,
    Put,
    PutMany,
    Scan,
)
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.records import (
    EXPIRES,
    NO_VERSION,
    TOMBSTONE,
    make_record,
    record_expiry,
    record_value,
    record_version,
    sequence_of,
)
from twistedkv.resp import replies
from twistedkv.slots import slots_of
from twistedkv.wire.client import result_frame
from twistedkv.wire.frames import RETRY

if TYPE_CHECKING:
    from twistedkv.core.replica import Replica
    from twistedkv.core.space import Space

ShardRequest = Get | Put | Delete | Cas | Incr | Scan | Execute | PutMany | GetMany | BackupRequest
_PARKING = (ReplicaRole.RECONCILING, ReplicaRole.SWITCHING, ReplicaRole.STEPPED_DOWN)
_SUCCESS = int(Status.SUCCESS)
_MISSING = int(Status.KEY_NOT_FOUND)


class Serving(Reading):
    """Clients of one shard, on the server that is its primary or about to be."""

    def __init__(self, replica: Replica, outbox: Outbox, clock: Callable[[], float], wall: Callable[[], int]) -> None:
        super().__init__(replica, outbox, clock, wall)
        self.map_version = 0
        """For redirects: the newest map known to this server."""
        self.min_copies = 1
        self._wall = wall
        """Milliseconds since 1970: when keys expire, and nothing else."""
        self._keys = ShardKeys(replica)
        self._backup = Backup(replica, self._answer_read, self._refuse, clock)
        self.room = Room(replica)
        self.space = self.room.space  # how full this server is
        self._parked: deque[tuple[Mailbox, int, int, ShardRequest, int, float]] = deque()

    def has_space(self, space: Space) -> None:
        """The server's."""
        self.space = self.room.space = space

    @property
    def idle(self) -> bool:
        """Whether nobody waits."""
        return not (self._waiting or self._held or self._parked)

    def request(self, mailbox: Mailbox, request_id: int, flags: int, request: ShardRequest, slot: int) -> None:
        """Execute, park or refuse one request for this shard."""
        role = self.replica.role
        if role is ReplicaRole.PRIMARY:
            try:
                self._execute(mailbox, request_id, flags, request, slot)
            except DamagedRecord as error:  # before anything was changed
                self._outbox.damaged.append(error)
                self._refuse(mailbox, request_id, Status.SERVER_FAILURE, f"{error}; it is mended from another copy")
        elif role in _PARKING and len(self._parked) < PARKED_REQUESTS_MAX:
            self._parked.append((mailbox, request_id, flags, request, slot, self._clock()))
        else:
            self._turn_away(mailbox, request_id)

    def _execute(self, mailbox: Mailbox, request_id: int, flags: int, request: ShardRequest, slot: int) -> None:
        kind = type(request)
        if kind is Get:
            self._get(mailbox, request_id, request.key, slot)  # type: ignore[union-attr]
        elif kind is Scan:
            # Everything that the page can show is committed once all that there is now is committed.
            page = scan_page(self.replica.store, self.replica.configuration, request, request_id, self._wall())  # type: ignore[arg-type]
            self._answer_read(mailbox, request_id, self.replica.sequence, page)
        elif kind is PutMany:
            self._put_many(mailbox, request_id, flags, request)  # type: ignore[arg-type]
        elif kind is GetMany:
            self._get_many(mailbox, request_id, request)  # type: ignore[arg-type]
        elif kind is Execute:
            self._run(mailbox, request_id, flags, request)  # type: ignore[arg-type]
        elif isinstance(request, BackupRequest):
            self._backup.request(mailbox, request_id, request)
        else:
            self._write(mailbox, request_id, flags, request, slot)  # type: ignore[arg-type]

    # Writes.

    def _write(
        self, mailbox: Mailbox, request_id: int, flags: int, request: Put | Delete | Cas | Incr, slot: int
    ) -> None:
        replica = self.replica
        if not self._admit(mailbox, request_id, flags, request):
            return
        kind = type(request)
        if kind is Put:
            self._update(mailbox, request_id, slot, request, 0, request.value)  # type: ignore[union-attr]
            return
        record = replica.store.get(slot, request.key)
        found = NO_VERSION
        value: bytes | None = None
        seen = expiry = 0
        if record is not None:
            found = record_version(record)
            seen = found & SEQUENCE_MAX
            if record[8] & EXPIRES and self.updates.expired(slot, request.key, record):
                seen = replica.sequence
            elif not record[8] & TOMBSTONE:
                value, expiry = record_value(record), record_expiry(record)
        if kind is Delete:
            if value is None:
                self._answer_read(mailbox, request_id, seen, result_frame(request_id, _MISSING))
            else:
                self._update(mailbox, request_id, slot, request, TOMBSTONE, b"")
        elif kind is Cas:
            exists = NO_VERSION if value is None else found
            if exists != request.expected:  # type: ignore[union-attr]
                mismatch = result_frame(request_id, int(Status.VERSION_MISMATCH), exists)
                self._answer_read(mailbox, request_id, seen, mismatch)
            else:
                self._update(mailbox, request_id, slot, request, 0, request.value)  # type: ignore[union-attr]
        else:
            self._incr(mailbox, request_id, slot, request, value, expiry, seen)  # type: ignore[arg-type]

    def _put_many(self, mailbox: Mailbox, request_id: int, flags: int, request: PutMany) -> None:
        if not self._admit(mailbox, request_id, flags, request):
            return
        keys = request.keys
        slots = slots_of(keys)
        if not self._own(slots):
            self._refuse(mailbox, request_id, Status.INVALID_REQUEST, NOT_OF_ONE_SHARD)
            return
        if self.space.tight and self._lacks_room(mailbox, request_id, slots, keys, request.values):
            return
        version = self.updates.next_version()
        records = list(map(make_record(version, 0, b"").__add__, request.values))
        self.updates.many(slots, keys, records, version, request.number, request.oldest, mailbox.client)
        answer = mailbox.result(request_id, _SUCCESS, version)
        self._waiting.append((version & SEQUENCE_MAX, False, mailbox, request_id, answer))

    def _admit(
        self, mailbox: Mailbox, request_id: int, flags: int, request: Put | Delete | Cas | Incr | Execute | PutMany
    ) -> bool:
        """Whether a write is to be executed now. If not, it has been answered."""
        replica = self.replica
        number, oldest = request.number, request.oldest
        if not 0 < oldest <= number < oldest + WRITE_WINDOW:
            self._refuse(
                mailbox,
                request_id,
                Status.INVALID_REQUEST,
                f"write number {number} with oldest {oldest}: expected 1 <= oldest <= number < oldest + {WRITE_WINDOW}",
            )
            return False
        known = replica.dedup.find(mailbox.client, number, sequence_of(request.since), bool(flags & RETRY))
        if known is Lookup.FORGOTTEN:
            self._refuse(mailbox, request_id, Status.UNKNOWN_OUTCOME, "this write is no longer remembered")
            return False
        if known is not Lookup.NEW:
            version, reply = (known, b"") if isinstance(known, int) else known
            self._answer_write(mailbox, request_id, version, mailbox.result(request_id, _SUCCESS, version, reply))
            return False
        configuration = replica.configuration
        if configuration is not None and len(configuration.members) < self.min_copies:
            self._refuse(
                mailbox,
                request_id,
                Status.NOT_ENOUGH_COPIES,
                f"shard {replica.shard} has {len(configuration.members)} copies, writes need {self.min_copies}",
            )
            return False
        if self.space.tight:
            self.room.make(request)
        return True

    def _lacks_room(
        self, mailbox: Mailbox, request_id: int, slots: list[int], keys: list[bytes], values: list[bytes]
    ) -> bool:
        """Whether there is no room for a write. Then it has been answered."""
        missing = self.room.missing_for(slots, keys, values)
        if missing:
            self._refuse(mailbox, request_id, Status.OUT_OF_SPACE, missing)
        return bool(missing)

    def _incr(
        self,
        mailbox: Mailbox,
        request_id: int,
        slot: int,
        request: Incr,
        value: bytes | None,
        expiry: int,
        seen: int,
    ) -> None:
        text = incremented(value, request.delta)
        if text is None:
            why = b"the value is no decimal 64-bit integer, or the sum would not be one"
            frame = result_frame(request_id, int(Status.NOT_AN_INTEGER), 0, why)
            self._answer_read(mailbox, request_id, seen, frame)
            return
        self._update(mailbox, request_id, slot, request, 0, text, expiry, text)

    def _update(
        self,
        mailbox: Mailbox,
        request_id: int,
        slot: int,
        request: Put | Delete | Cas | Incr,
        flags: int,
        value: bytes,
        expiry: int = 0,
        reply: bytes = b"",
    ) -> None:
        """Make one update of one key, and answer it at its commit."""
        if self.space.tight and not flags and self._lacks_room(mailbox, request_id, [slot], [request.key], [value]):
            return
        number, oldest = request.number, request.oldest
        version = self.updates.one(slot, request.key, flags, value, expiry, number, oldest, mailbox.client, reply)
        frame = result_frame(request_id, _SUCCESS, version, reply)
        self._waiting.append((version & SEQUENCE_MAX, False, mailbox, request_id, frame))

    # Commands.

    def _run(self, mailbox: Mailbox, request_id: int, flags: int, request: Execute) -> None:
        """Execute commands: all that they change becomes one update."""
        number = request.number
        if number and not self._admit(mailbox, request_id, flags, request):
            return
        keys = self._keys
        keys.begin(self._wall(), writes=number != 0)
        protocol, commands = request.protocol, request.commands
        parts: list[bytes] | None = None
        if request.mode is ExecuteMode.SINGLE:
            reply = keys.execute(commands[0], protocol)
        elif request.mode is ExecuteMode.BATCH:
            if self.space.tight and number:
                parts = self._execute_each(commands, protocol)
            else:
                parts = [keys.execute(command, protocol) for command in commands]
            reply = replies.array(parts)
        elif any(keys.version(watched.key) != watched.version for watched in request.watched):
            reply = replies.nil_array(protocol)
        else:
            reply = replies.array([keys.execute(command, protocol) for command in commands])
        if keys.refused:
            self._refuse(mailbox, request_id, Status.INVALID_REQUEST, keys.refused)
            return
        if self.space.tight and keys.effective and parts is None:
            missing = self.room.missing_for_changes(keys.changes)
            if missing:
                self._refuse(mailbox, request_id, Status.OUT_OF_SPACE, missing)
                return
        too_large = keys.too_large(reply)
        if too_large and parts is not None:
            self._refuse(mailbox, request_id, Status.INVALID_REQUEST, f"a batch of this size: {too_large.decode()}")
        elif too_large:
            self._answer_read(mailbox, request_id, keys.seen, mailbox.result(request_id, _SUCCESS, 0, too_large))
        elif keys.effective:
            version = self.updates.several(keys.changes, number, request.oldest, mailbox.client, reply)
            frame = mailbox.executed(request_id, version, reply, parts)
            self._waiting.append((version & SEQUENCE_MAX, False, mailbox, request_id, frame))
        else:
            seen = keys.seen
            if keys.changes:
                seen = self.updates.several(keys.changes) & SEQUENCE_MAX
            self._answer_read(mailbox, request_id, seen, mailbox.executed(request_id, 0, reply, parts))

    def _execute_each(self, commands: list[list[bytes]], protocol: int) -> list[bytes]:
        """The replies to the commands of a batch. One for which there is no room changes nothing; the others go on."""
        keys, room = self._keys, self.room
        parts = []
        grown = 0
        for command in commands:
            before, effective = dict(keys.changes), keys.effective
            reply = keys.execute(command, protocol)
            changed = {key: change for key, change in keys.changes.items() if before.get(key) is not change}
            if changed:
                more = room.grown(changed) - room.grown({key: before[key] for key in changed if key in before})
                missing = room.missing(grown + more) if more > 0 else ""
                if missing:
                    keys.changes, keys.effective = before, effective
                    reply = replies.error(f"OOM {missing}")
                else:
                    grown += more
            parts.append(reply)
        return parts

    def _answer_write(self, mailbox: Mailbox, request_id: int, version: int, frame: Any) -> None:
        sequence = sequence_of(version)
        if sequence > self.replica.commit:
            self._waiting.append((sequence, False, mailbox, request_id, frame))
        else:
            self._outbox.answer(mailbox, request_id, frame)

    # What the replica says.

    def advanced(self, now: float) -> None:
        """Commit or lease have moved: answer whom that allows."""
        replica = self.replica
        waiting, commit = self._waiting, replica.commit
        leased = now < replica.lease_until
        answer = self._outbox.answer
        while waiting and waiting[0][0] <= commit:
            _, read, mailbox, request_id, frame = waiting.popleft()
            if read and not leased:
                self._held.append((mailbox, request_id, frame, now))
            else:
                answer(mailbox, request_id, frame)
        if leased and self._held:
            for mailbox, request_id, frame, _ in self._held:
                answer(mailbox, request_id, frame)
            self._held.clear()

    def started(self) -> None:
        """The replica is primary: execute what was parked, in order."""
        parked, self._parked = self._parked, deque()
        for mailbox, request_id, flags, request, slot, _ in parked:
            if mailbox.open:
                self.request(mailbox, request_id, flags, request, slot)

    def stopped(self) -> None:
        """The replica serves no more: send everybody to where it will be served.

        Writes that were begun may or may not survive: SUPERSEDED. All others certainly had no effect.
        """
        for _, read, mailbox, request_id, _ in self._waiting:
            if read:
                self._turn_away(mailbox, request_id)
            else:
                self._refuse(mailbox, request_id, Status.SUPERSEDED, "ask the shard's new primary", self.map_version)
        self._waiting.clear()
        for mailbox, request_id, _, _ in self._held:
            self._turn_away(mailbox, request_id)
        self._held.clear()
        self._unpark_all()

    def tick(self, now: float) -> None:
        """Send away what has been parked or held for too long."""
        limit = now - self.replica.timing.parked
        while self._parked and self._parked[0][5] < limit:
            self._turn_away(*self._parked.popleft()[:2])
        while self._held and self._held[0][3] < limit:
            self._turn_away(*self._held.popleft()[:2])

    def _unpark_all(self) -> None:
        parked, self._parked = self._parked, deque()
        for mailbox, request_id, *_ in parked:
            self._turn_away(mailbox, request_id)

    def _turn_away(self, mailbox: Mailbox, request_id: int) -> None:
        configuration = self.replica.configuration
        if configuration is not None and configuration.lost:
            text = f"shard {self.replica.shard} is lost: no copy is left"
            self._refuse(mailbox, request_id, Status.SHARD_LOST, text)
        elif configuration is not None and configuration.primary == self.replica.me:
            self._refuse(mailbox, request_id, Status.NOT_PRIMARY_YET, "", self.map_version)
        else:
            self._refuse(mailbox, request_id, Status.WRONG_SERVER, "", self.map_version)
