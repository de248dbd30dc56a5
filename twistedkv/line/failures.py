"""What a client of the line port is told when a command could not be executed: which of the three it is, and why."""

from __future__ import annotations

from twistedkv.errors import (
    InvalidRequest,
    NotEnoughCopies,
    OutcomeUnknown,
    OutOfSpace,
    ShardLost,
)
from twistedkv.resp import replies

CROSS_SHARD = "CROSSSLOT Keys in request don't hash to the same slot"
TRANSACTION_ABORTED = "EXECABORT Transaction discarded because of previous errors."


def reply_of(error: Exception) -> bytes:
    """The error reply. Only one that begins with UNKNOWN leaves open whether the command was executed."""
    if isinstance(error, OutcomeUnknown):
        return replies.error(f"UNKNOWN whether it was executed, once or not at all: {error}")
    if isinstance(error, NotEnoughCopies):
        return replies.error("NOREPLICAS Not enough good replicas to write.")
    if isinstance(error, OutOfSpace):
        return replies.error(f"OOM not executed: {error}")
    if isinstance(error, ShardLost):
        return replies.error(f"CLUSTERDOWN The cluster is down: not executed: {error}")
    if isinstance(error, InvalidRequest):
        return replies.error(f"ERR not executed: {error}")
    return replies.error(f"CLUSTERDOWN Hash slot not served: not executed: {error}")


def cross_shard(name: bytes) -> str:
    """The error of a command whose keys are of several shards, and that cannot be taken apart."""
    return (
        f"{CROSS_SHARD}: '{name.decode()}' is executed as a whole, so its keys have to be in one shard; "
        "give them the same hash tag, as in {tag}a and {tag}b"
    )


def in_part(name: bytes, failed: list[bytes], done: int, total: int, *, writes: bool) -> bytes:
    """The error of a command that was taken apart by shards, and not executed on each.

    `failed` are the errors of those that have not executed it. A write that was executed somewhere is PARTIAL, because
    clients repeat a command that is answered CLUSTERDOWN or TRYAGAIN as a whole.
    """
    unknown = [error for error in failed if error.startswith(b"-UNKNOWN")]
    text = (unknown or failed)[0][1:-2].decode("utf-8", "surrogateescape")
    if writes and done and not unknown:
        text = f"PARTIAL {text}"
    return replies.error(f"{text} (of the {total} shards with keys of this '{name.decode()}', {done} executed it)")
