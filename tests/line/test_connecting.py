"""Commands about the connection."""

from __future__ import annotations

from typing import Any

import pytest

from twistedkv.errors import CommandError
from twistedkv.line import clustering, connecting
from twistedkv.resp.answers import AnswerDecoder, MapAnswer


class Speaker:
    """As much of a conversation as is asked for."""

    protocol = 2
    number = 7
    name = b""
    library = library_version = b""


def hello(speaker: Any, *words: bytes) -> bytes:
    return connecting.hello(speaker, [b"HELLO", *words])


def test_hello_answers_in_the_version_that_it_chooses() -> None:
    speaker = Speaker()
    assert hello(speaker).startswith(b"*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n")
    (answer,) = AnswerDecoder().feed(hello(speaker, b"3", b"auth", b"default", b"x", b"SETNAME", b"me"))
    assert isinstance(answer, MapAnswer)
    pairs: dict[Any, Any] = dict(answer.pairs)  # type: ignore[arg-type]
    assert (pairs[b"proto"], pairs[b"id"], pairs[b"role"]) == (3, 7, b"master")
    assert (speaker.protocol, speaker.name) == (3, b"me")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((b"x",), "ERR Protocol version is not an integer or out of range"),
        ((b"4",), "NOPROTO unsupported protocol version"),
        ((b"3", b"SETNAME"), "ERR Syntax error in HELLO option 'SETNAME'"),
        ((b"3", b"WHAT"), "ERR Syntax error in HELLO option 'WHAT'"),
        ((b"3", b"AUTH", b"me", b"x"), "WRONGPASS invalid username-password pair or user is disabled."),
        ((b"3", b"SETNAME", b"a b"), "ERR Client names cannot contain spaces, newlines or special characters."),
    ],
)
def test_a_hello_that_is_refused_changes_nothing(words: tuple[bytes, ...], text: str) -> None:
    speaker = Speaker()
    with pytest.raises(CommandError) as refused:
        hello(speaker, *words)
    assert str(refused.value) == text
    assert (speaker.protocol, speaker.name) == (2, b"")


def test_what_a_client_says_of_itself() -> None:
    speaker: Any = Speaker()
    assert connecting.client_setinfo(speaker, [b"CLIENT", b"SETINFO", b"lib-ver", b"1.0"]) == b"+OK\r\n"
    assert speaker.library_version == b"1.0"
    with pytest.raises(CommandError, match="cannot contain spaces"):
        connecting.client_setinfo(speaker, [b"CLIENT", b"SETINFO", b"LIB-NAME", b"a b"])
    with pytest.raises(CommandError, match="Unrecognized option 'X'"):
        connecting.client_setinfo(speaker, [b"CLIENT", b"SETINFO", b"X", b"a"])


def test_the_slot_of_a_key() -> None:
    assert clustering.cluster_keyslot(None, [b"CLUSTER", b"KEYSLOT", b"{user}1"]) == b":5474\r\n"  # type: ignore[arg-type]
