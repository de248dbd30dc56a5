"""What opens every connection."""

from enum import IntEnum

import attrs


class Role(IntEnum):
    """What the connecting side is, and so which messages may follow."""

    CLIENT = 1
    """A client, to a server or the coordinator. `identity` is its client id."""
    PEER = 2
    """A primary's server, to a server with other copies: replication. `identity` is its store id."""
    TRANSFER = 3
    """A primary's server, to a learner's: streaming of records. `identity` is its store id."""
    SERVER = 4
    """A server, to the coordinator. `identity` is its store id."""


@attrs.define
class Hello:
    """First frame of the connecting side."""

    version_min: int
    version_max: int
    role: Role
    cluster: str
    """Name of the cluster meant; empty when the caller takes any."""
    server_id: int
    """0 for a client, and for a server that has none yet."""
    identity: bytes
    """16 bytes: client id or store id."""


@attrs.define
class HelloReply:
    """First frame of the accepting side. On any status but SUCCESS it closes the connection."""

    status: int
    version: int
    """Protocol version of all frames after this one."""
    cluster: str
    server_id: int
    """0 for the coordinator."""
    identity: bytes
    """Store id of a server; the coordinator's store's id."""
    text: str
    """What was wrong, in a sentence; empty on success."""
