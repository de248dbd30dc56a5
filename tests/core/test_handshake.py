"""HELLO: which versions, roles and clusters are let in."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.core import handshake
from twistedkv.core.handshake import answer_hello, make_hello
from twistedkv.errors import Status
from twistedkv.messages.hello import Hello, HelloReply, Role
from twistedkv.wire.frames import PROTOCOL_VERSION, PROTOCOL_VERSION_MIN

IDENTITY = bytes(range(16))
STORE = bytes(16)


def answered(hello: Hello, cluster: str = "demo", roles: tuple[Role, ...] = (Role.CLIENT,)) -> HelloReply:
    return answer_hello(hello, cluster=cluster, server_id=3, identity=STORE, roles=roles)


def test_what_is_said_first() -> None:
    hello = make_hello(Role.PEER, "demo", 2, IDENTITY)
    assert hello == Hello(PROTOCOL_VERSION_MIN, PROTOCOL_VERSION, Role.PEER, "demo", 2, IDENTITY)


def test_one_who_fits_is_let_in() -> None:
    reply = answered(make_hello(Role.CLIENT, "demo", 0, IDENTITY))
    assert reply == HelloReply(Status.SUCCESS, PROTOCOL_VERSION, "demo", 3, STORE, "")


@pytest.mark.parametrize(("theirs", "ours"), [("", "demo"), ("demo", ""), ("", "")])
def test_no_name_fits_any_cluster(theirs: str, ours: str) -> None:
    assert answered(make_hello(Role.CLIENT, theirs, 0, IDENTITY), cluster=ours).status == Status.SUCCESS


def test_another_cluster_is_refused_by_name() -> None:
    reply = answered(make_hello(Role.CLIENT, "other", 0, IDENTITY))
    assert reply.status == Status.INVALID_REQUEST
    assert "'demo'" in reply.text
    assert "'other'" in reply.text


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.CLIENT])
def test_a_role_that_is_not_served_is_refused(role: Role) -> None:
    reply = answered(make_hello(role, "demo", 0, IDENTITY))
    assert reply.status == Status.UNSUPPORTED
    assert role.name in reply.text


@given(st.integers(0, 255), st.integers(0, 255), st.integers(1, 255), st.integers(1, 255))
def test_the_highest_common_version_is_spoken_or_none(low: int, high: int, ours_low: int, ours_high: int) -> None:
    ours_low, ours_high = sorted((ours_low, ours_high))
    hello = attrs.evolve(make_hello(Role.CLIENT, "demo", 0, IDENTITY), version_min=low, version_max=high)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handshake, "PROTOCOL_VERSION_MIN", ours_low)
        patch.setattr(handshake, "PROTOCOL_VERSION", ours_high)
        reply = answered(hello)
    common = set(range(low, high + 1)) & set(range(ours_low, ours_high + 1))
    if common:
        assert (reply.status, reply.version) == (Status.SUCCESS, max(common))
    else:
        assert reply.status == Status.INVALID_REQUEST
        assert f"{low} to {high}" in reply.text
