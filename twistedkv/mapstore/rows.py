"""Servers, configurations and operations as JSON, for stores that keep text."""

from __future__ import annotations

import json
from typing import Any

import attrs

from twistedkv.clustermap import Configuration, Member, Server, ServerState
from twistedkv.core.operations import Kind, Operation, Phase


def server_text(server: Server) -> str:
    """A server as JSON."""
    return json.dumps(attrs.asdict(server) | {"store_id": server.store_id.hex(), "state": int(server.state)})


def server_of(text: str) -> Server:
    """The server that `server_text` has written."""
    fields = json.loads(text)
    return Server(**fields | {"store_id": bytes.fromhex(fields["store_id"]), "state": ServerState(fields["state"])})


def configuration_text(configuration: Configuration) -> str:
    """A configuration as JSON."""
    return json.dumps(
        attrs.asdict(configuration, recurse=False)
        | {
            "primary": _member_row(configuration.primary),
            "secondaries": [_member_row(member) for member in configuration.secondaries],
            "learners": [_member_row(member) for member in configuration.learners],
        }
    )


def configuration_of(text: str) -> Configuration:
    """The configuration that `configuration_text` has written."""
    fields = json.loads(text)
    return Configuration(
        **fields
        | {
            "primary": _member_of(fields["primary"]),
            "secondaries": tuple(_member_of(row) for row in fields["secondaries"]),
            "learners": tuple(_member_of(row) for row in fields["learners"]),
            "preferred": tuple(fields["preferred"]),
        }
    )


def operation_text(operation: Operation) -> str:
    """An operation as JSON."""
    return json.dumps(attrs.asdict(operation, recurse=False))


def operation_of(text: str) -> Operation:
    """The operation that `operation_text` has written."""
    fields = json.loads(text)
    return Operation(
        **fields
        | {
            "kind": Kind(fields["kind"]),
            "phase": Phase(fields["phase"]),
            "shards": tuple(fields["shards"]),
            "primaries": tuple(fields["primaries"]),
        }
    )


def _member_row(member: Member) -> list[Any]:
    return [member.server_id, member.store_id.hex()]


def _member_of(row: list[Any]) -> Member:
    return Member(row[0], bytes.fromhex(row[1]))
