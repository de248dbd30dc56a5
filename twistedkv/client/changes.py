"""Storing keys that expire, and deleting, many at a time: by commands of the line port, where `mput` has none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList

from twistedkv.client.arguments import check_keys, check_values
from twistedkv.client.gather import PART_BYTES_MAX, PART_KEYS_MAX, mput, refresh
from twistedkv.client.operations import WRITES, Operation
from twistedkv.client.results import PartialFailure
from twistedkv.errors import InvalidRequest, NotDone, ProtocolError
from twistedkv.messages.client import Execute, ExecuteMode
from twistedkv.resp.answers import AnswerDecoder, ErrorAnswer
from twistedkv.slots import slot_of, slots_of
from twistedkv.wire.client import EXECUTE

if TYPE_CHECKING:
    from twistedkv.client.rim import Rim

Change = tuple[bytes | None, int]
"""The value, or None: the key is to be deleted; and when it expires, in milliseconds since 1970 (0: never)."""

_EXPIRY_MAX = 2**63 - 1


async def apply(client: Rim, changes: Mapping[bytes, Change], deadline: float) -> None:
    """See Client.apply. All of it is under way at a time."""
    keys = list(changes)
    check_keys(keys)
    check_values([value for value, _ in changes.values() if value is not None])
    for _, expiry in changes.values():
        if type(expiry) is not int or not 0 <= expiry <= _EXPIRY_MAX:
            raise InvalidRequest(f"a key expires at 0 (never) or so many milliseconds since 1970, not {expiry!r}")
    failed: dict[bytes, Exception] = {}
    plain = {key: value for key, (value, expiry) in changes.items() if value is not None and not expiry}
    others = [key for key in keys if key not in plain]
    if others and not client.router.table:
        await refresh(client, deadline)
    storing = mput(client, plain, deadline)
    await _in_parts(client, others, changes, deadline, failed, by_shard=bool(client.router.table))
    try:
        await storing
    except PartialFailure as failure:
        failed.update(failure.failed)
    if failed:
        first = next(iter(failed.values()))
        done = dict.fromkeys(key for key in keys if key not in failed)
        raise PartialFailure(f"{len(failed)} of {len(keys)} keys failed; the first: {first}", done, failed)


async def _in_parts(
    client: Rim,
    keys: list[bytes],
    changes: Mapping[bytes, Change],
    deadline: float,
    failed: dict[bytes, Exception],
    *,
    by_shard: bool,
) -> None:
    parts = list(_parts(client, keys, changes)) if by_shard else [[key] for key in keys]
    asked = [_send(client, part, changes, deadline) for part in parts]
    again: list[bytes] = []
    outcomes: list[tuple[bool, Any]] = await DeferredList(asked, consumeErrors=True)
    for part, (done, outcome) in zip(parts, outcomes, strict=True):
        if done:
            failed.update(_errors(part, outcome))
        elif isinstance(outcome.value, InvalidRequest) and len(part) > 1:
            again += part  # they are not of one shard any more
        else:
            failed.update(dict.fromkeys(part, outcome.value))
    if again:
        await _in_parts(client, again, changes, deadline, failed, by_shard=False)


def _parts(client: Rim, keys: list[bytes], changes: Mapping[bytes, Change]) -> Iterator[list[bytes]]:
    """Keys of one shard each, not too many, and not with too large values."""
    table = client.router.table
    groups: dict[Any, list[bytes]] = {}
    for key, slot in zip(keys, slots_of(keys), strict=True):
        groups.setdefault(table[slot], []).append(key)
    for group in groups.values():
        part: list[bytes] = []
        size = 0
        for key in group:
            more = len(changes[key][0] or b"")
            if part and (size + more > PART_BYTES_MAX or len(part) >= PART_KEYS_MAX):
                yield part
                part, size = [], 0
            part.append(key)
            size += more
        yield part


def _send(client: Rim, part: list[bytes], changes: Mapping[bytes, Change], deadline: float) -> Deferred[bytes]:
    answer: Deferred[bytes] = Deferred(lambda _: client.cancel(operation))
    slot = slot_of(part[0])
    commands = [_command(key, *changes[key]) for key in part]
    message = Execute(0, 0, 0, slot, 2, ExecuteMode.BATCH, [], commands)
    operation = Operation(EXECUTE, b"", slot, deadline, answer, message, WRITES)
    client.begin(operation)
    return answer


def _command(key: bytes, value: bytes | None, expiry: int) -> list[bytes]:
    if value is None:
        return [b"DEL", key]
    return [b"SET", key, value, b"PXAT", b"%d" % expiry] if expiry else [b"SET", key, value]


def _errors(part: list[bytes], reply: bytes) -> Mapping[bytes, Exception]:
    """The errors among the replies to a batch."""
    [answers] = AnswerDecoder().feed(reply)
    if not isinstance(answers, list) or len(answers) != len(part):
        raise ProtocolError(f"the reply to a batch of {len(part)} commands is no list of as many")
    return {
        key: NotDone(f"{key!r}: {answer.text.decode('utf-8', 'replace')}")
        for key, answer in zip(part, answers, strict=True)
        if isinstance(answer, ErrorAnswer)
    }
