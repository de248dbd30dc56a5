"""HELLO: who is there, may they come in, and which protocol version is spoken (docs/protocol.md)."""

from collections.abc import Container

from twistedkv.errors import Status
from twistedkv.messages.hello import Hello, HelloReply, Role
from twistedkv.wire.frames import PROTOCOL_VERSION, PROTOCOL_VERSION_MIN


def answer_hello(hello: Hello, *, cluster: str, server_id: int, identity: bytes, roles: Container[Role]) -> HelloReply:
    """The accepting side's answer. The connection stays open only if its status is SUCCESS.

    `roles` are those served on this port; an empty `cluster` is that of a server that has not joined one yet.
    """
    version = min(hello.version_max, PROTOCOL_VERSION)
    status, text = Status.SUCCESS, ""
    if version < max(hello.version_min, PROTOCOL_VERSION_MIN):
        status = Status.INVALID_REQUEST
        text = (
            f"versions {hello.version_min} to {hello.version_max} were offered, "
            f"{PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION} are spoken here"
        )
    elif hello.role not in roles:
        status = Status.UNSUPPORTED
        text = f"connections of role {hello.role.name} are not served on this port: is this the right address?"
    elif hello.cluster and cluster and hello.cluster != cluster:
        status = Status.INVALID_REQUEST
        text = f"this is cluster {cluster!r}, not {hello.cluster!r}: check the address or the name"
    return HelloReply(int(status), version, cluster, server_id, identity, text)


def make_hello(role: Role, cluster: str, server_id: int, identity: bytes) -> Hello:
    """What the connecting side says first."""
    return Hello(PROTOCOL_VERSION_MIN, PROTOCOL_VERSION, role, cluster, server_id, identity)
