"""What clients ask of a server over the binary protocol: answered at once, or given to the shard that it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twistedkv.clustermap import ClusterMap
from twistedkv.core.mailbox import Mailbox, Outbox
from twistedkv.core.scrub import Scrub
from twistedkv.errors import DamagedRecord, ProtocolError, Status
from twistedkv.limits import CLIENT_OUTPUT_BYTES_MAX, SLOTS
from twistedkv.messages.client import BY_SLOT, MapRequest, MapUpdate, Noop, Verify
from twistedkv.records import is_tombstone, record_expiry, record_value, record_version
from twistedkv.slots import slot_of
from twistedkv.wire.client import CONFIG_RESP, FAMILY, Request, decode_request, result_frame
from twistedkv.wire.frames import Frame, encode_frame

if TYPE_CHECKING:
    from twistedkv.core.replica import Replica
    from twistedkv.storage.interface import Store


class Requests:
    """The clients' side of `ServerCore`, which adds all that this needs."""

    map: ClusterMap
    store: Store
    outbox: Outbox
    scrub: Scrub
    by_slot: list[Replica]
    """By slot; empty until all shards are known, and again when this server is to stop."""
    _wall: Callable[[], int]

    @property
    def whole(self) -> bool:
        """Whether all shards are known: a primary may have told of one before the coordinator has told of all."""
        return sum(len(configuration.slots) for configuration in self.map.shards) == SLOTS

    def requests(self, mailbox: Mailbox, frames: list[Frame]) -> int:
        """Execute what one read from a client brought, in order, and return how many of the frames that were.

        They are fewer than all when the answers have become too large; go on when the client has read them.
        A malformed or unknown request is answered INVALID_REQUEST or UNSUPPORTED; the frames around it are unharmed.
        """
        by_slot = self.by_slot
        for done, (message_type, flags, request_id, body) in enumerate(frames):
            if mailbox.size > CLIENT_OUTPUT_BYTES_MAX:
                return done
            try:
                request = decode_request(message_type, body)
            except ProtocolError as error:
                known = message_type in FAMILY.layouts
                status = Status.INVALID_REQUEST if known else Status.UNSUPPORTED
                self.outbox.answer(mailbox, request_id, result_frame(request_id, int(status), 0, str(error).encode()))
                continue
            if isinstance(request, Noop | MapRequest | Verify):
                self.outbox.answer(mailbox, request_id, self._answer_at_once(request, request_id))
                continue
            if not by_slot:
                text = b"this server has not heard of the cluster's shards yet"
                self.outbox.answer(mailbox, request_id, result_frame(request_id, int(Status.NOT_PRIMARY_YET), 0, text))
                continue
            slot = request.slot if isinstance(request, BY_SLOT) else slot_of(request.key)
            if slot >= len(by_slot):
                text = f"slot {slot} does not exist".encode()
                self.outbox.answer(mailbox, request_id, result_frame(request_id, int(Status.INVALID_REQUEST), 0, text))
                continue
            by_slot[slot].serving.request(mailbox, request_id, flags, request, slot)
        return len(frames)

    def _answer_at_once(self, request: Request, request_id: int) -> bytes:
        if isinstance(request, MapRequest):
            if self.map.shards and not self.whole:
                text = b"this server has not heard of all of the cluster's shards yet"
                return result_frame(request_id, int(Status.NOT_PRIMARY_YET), 0, text)
            return encode_frame(CONFIG_RESP, FAMILY.layouts[CONFIG_RESP].encode(MapUpdate(self.map)), request_id)
        if isinstance(request, Verify):
            return self._verify(request.key, request_id)
        return result_frame(request_id, int(Status.SUCCESS))

    def _verify(self, key: bytes, request_id: int) -> bytes:
        slot = slot_of(key)
        if not self.by_slot or not self.by_slot[slot].complete:
            return result_frame(request_id, int(Status.WRONG_SERVER), self.map.version)
        try:
            record = self.store.get(slot, key)
        except DamagedRecord as error:
            self.scrub.damaged(error)
            return result_frame(request_id, int(Status.SERVER_FAILURE), 0, str(error).encode())
        if record is None or is_tombstone(record) or 0 < record_expiry(record) <= self._wall():
            return result_frame(request_id, int(Status.KEY_NOT_FOUND))
        return result_frame(request_id, int(Status.SUCCESS), record_version(record), record_value(record))
