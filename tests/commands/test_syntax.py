"""Syntax texts as trees."""

from __future__ import annotations

import pytest

from twistedkv.commands.syntax import Argument, arguments_of


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", []),
        ("key value", [Argument("key", "key"), Argument("value", "string")]),
        ("key [key ...]", [Argument("key", "key", multiple=True)]),
        (
            "key value [key value ...]",
            [
                Argument(
                    "key_value", "block", multiple=True, parts=(Argument("key", "key"), Argument("value", "string"))
                )
            ],
        ),
        ("[section [section ...]]", [Argument("section", "string", optional=True, multiple=True)]),
        ("[GET]", [Argument("get", "pure-token", "GET", optional=True)]),
        ("[MATCH pattern]", [Argument("pattern", "pattern", "MATCH", optional=True)]),
        (
            "[NX | EX seconds]",
            [
                Argument(
                    "nx_seconds",
                    "oneof",
                    optional=True,
                    parts=(Argument("nx", "pure-token", "NX"), Argument("seconds", "integer", "EX")),
                )
            ],
        ),
        (
            "<ON | OFF>",
            [
                Argument(
                    "on_off", "oneof", parts=(Argument("on", "pure-token", "ON"), Argument("off", "pure-token", "OFF"))
                )
            ],
        ),
        (
            "[AUTH username password]",
            [
                Argument(
                    "username_password",
                    "block",
                    "AUTH",
                    optional=True,
                    parts=(Argument("username", "string"), Argument("password", "string")),
                )
            ],
        ),
        (
            "[ID client-id [client-id ...]]",
            [Argument("client-id", "integer", "ID", optional=True, multiple=True)],
        ),
    ],
)
def test_texts(text: str, arguments: list[Argument]) -> None:
    assert list(arguments_of(text)) == arguments


def test_keys_belong_to_key_specs() -> None:
    assert [one.spec for one in arguments_of("source destination [REPLACE]")[:2]] == [0, 1]


@pytest.mark.parametrize("text", ["[key", "key]", "<a | b]", "a | b"])
def test_what_is_not_well_formed(text: str) -> None:
    with pytest.raises(ValueError, match=r"bracket|syntax"):
        arguments_of(text)
