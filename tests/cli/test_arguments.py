"""Arguments of several commands."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.cli.arguments import expected_version, key_bytes, server_id, text_bytes


@given(st.binary(max_size=50).filter(lambda data: b"\0" not in data))
def test_what_the_shell_passes_is_what_is_stored(data: bytes) -> None:
    argument = data.decode("utf-8", "surrogateescape")
    assert text_bytes(argument) == data


@given(st.binary(min_size=1, max_size=500))
def test_hexadecimal(data: bytes) -> None:
    assert key_bytes(data.hex(), is_hex=True) == data
    assert text_bytes(data.hex(" ").upper(), is_hex=True) == data


@pytest.mark.parametrize("text", ["2", "server_2"])
def test_servers(text: str) -> None:
    assert server_id(text) == 2


@pytest.mark.parametrize("text", ["", "server_", "server_two", "server-2", "-2", "²"])
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(click.BadParameter):
        server_id(text)


def test_versions() -> None:
    assert [expected_version(text) for text in ("absent", "0", str((1 << 64) - 1))] == [0, 0, (1 << 64) - 1]
    with pytest.raises(click.BadParameter):
        expected_version("none")
