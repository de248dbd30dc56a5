"""Commands on one key."""

import json
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli.fakes import FakeClient, on_a_terminal, one_sentence, run
from twistedkv.client.results import Value


def as_json(result: Result) -> dict[str, object]:
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    return document


def test_put_and_get_text_as_utf8(client: FakeClient) -> None:
    assert run(client, "put", "grüße", "schön").exit_code == 0
    assert client.data["grüße".encode()].value == "schön".encode()
    assert run(client, "get", "grüße").stdout_bytes == "schön".encode()


def test_get_ends_the_line_on_a_terminal_only(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.put(b"k", b"\xffv\n")
    assert run(client, "get", "k").stdout_bytes == b"\xffv\n"
    on_a_terminal(monkeypatch)
    assert run(client, "get", "k").stdout_bytes == b"\xffv\n\n"


def test_get_of_a_missing_key(client: FakeClient) -> None:
    result = run(client, "get", "k\x1b[31m")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert one_sentence(result) == 'no such key: "k\\x1b[31m"'
    assert run(client, "get", "k", "--json").exit_code == 1


def test_get_as_json(client: FakeClient) -> None:
    client.put(b"k", "ü".encode())
    client.put(b"\xff", b"\x00\x80")
    assert as_json(run(client, "get", "k", "--json")) == {"key": "k", "value": "ü", "version": 1}
    assert as_json(run(client, "get", "--hex", "ff", "--json")) == {
        "key_base64": "/w==",
        "value_base64": "AIA=",
        "version": 2,
    }


def test_values_in_hexadecimal_from_a_file_and_from_standard_input(client: FakeClient, tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_bytes(b"\x00\xff\n")
    run(client, "put", "--hex", "6b31", "00ff")
    run(client, "put", "k2", "--file", str(file))
    run(client, "put", "k3", "-", stdin=b"\r\n\xfe")
    run(client, "put", "k4", "")
    run(client, "put", "--", "k5", "-5")
    values = {key: held.value for key, held in client.data.items()}
    assert values == {b"k1": b"\x00\xff", b"k2": b"\x00\xff\n", b"k3": b"\r\n\xfe", b"k4": b"", b"k5": b"-5"}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["put", "k"], "Give either a VALUE"),
        (["put", "k", "v", "--file", __file__], "Give either a VALUE"),
        (["put", "k", "--file", "/no/such/file"], "does not exist"),
        (["put", "", "v"], "A key has 1 to 500 bytes, this one has 0"),
        (["put", "k" * 501, "v"], "this one has 501"),
        (["put", "--hex", "6", "00"], "not pairs of hexadecimal digits"),
        (["put", "--hex", "6b", "xx"], "not pairs of hexadecimal digits"),
        (["get"], "Missing argument 'KEY'"),
        (["cas", "k", "v"], "Missing option '--expect'"),
        (["cas", "k", "v", "--expect", "-1"], "is not a version"),
        (["cas", "k", "v", "--expect", str(1 << 64)], "is not a version"),
        (["incr", "k", "1.5"], "is not a valid integer"),
        (["verify", "k"], "Give either a VALUE"),
        (["verify", "k", "v", "--absent"], "Give either a value or --absent"),
        (["verify", "k", "v", "--server", "two"], "write 2 or server_2"),
    ],
)
def test_wrong_usage(client: FakeClient, args: list[str], says: str) -> None:
    result = run(client, *args)
    assert result.exit_code == 2
    assert says in result.stderr
    assert client.data == {}


def test_a_value_that_is_too_long(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twistedkv.cli.arguments.VALUE_BYTES_MAX", 4)
    assert run(client, "put", "k", "-", stdin=b"1234").exit_code == 0
    result = run(client, "put", "k", "-", stdin=b"12345")
    assert result.exit_code == 2
    assert "at most 4 bytes" in result.stderr


def test_put_tells_the_version_to_programs_and_people(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_json(run(client, "put", "k", "v", "--json")) == {"key": "k", "version": 1}
    assert run(client, "put", "k", "v").output == ""
    on_a_terminal(monkeypatch)
    result = run(client, "put", "k", "v")
    assert (result.stdout, result.stderr) == ("", "stored, version 3\n")


def test_delete(client: FakeClient) -> None:
    client.put(b"k", b"v")
    assert as_json(run(client, "delete", "k", "--json")) == {"key": "k", "version": 2}
    assert client.data == {}
    result = run(client, "delete", "k")
    assert result.exit_code == 1
    assert one_sentence(result) == 'no such key: "k"'


def test_cas(client: FakeClient) -> None:
    assert as_json(run(client, "cas", "k", "v1", "--expect", "absent", "--json")) == {"key": "k", "version": 1}
    assert run(client, "cas", "k", "v2", "--expect", "1").exit_code == 0
    for expect, says in (("1", "has version 2"), ("absent", "has version 2")):
        result = run(client, "cas", "k", "v3", "--expect", expect)
        assert result.exit_code == 1
        assert says in one_sentence(result)
    assert client.data[b"k"].value == b"v2"
    result = run(client, "cas", "other", "v", "--expect", "5")
    assert result.exit_code == 1
    assert "does not exist" in one_sentence(result)


def test_incr(client: FakeClient) -> None:
    assert run(client, "incr", "k").stdout == "1\n"
    assert run(client, "incr", "k", "-5").stdout == "-4\n"
    assert as_json(run(client, "incr", "k", "10", "--json")) == {"key": "k", "value": 6, "version": 3}
    client.put(b"k", b"word")
    result = run(client, "incr", "k")
    assert result.exit_code == 3
    assert one_sentence(result) == "the value is no 64-bit integer"


def test_verify(client: FakeClient) -> None:
    client.put(b"k", b"v")
    result = run(client, "verify", "k", "v")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        'server_1  primary    matches  holds "v", version 1',
        'server_2  secondary  matches  holds "v", version 1',
    ]
    assert len(run(client, "verify", "k", "v", "--server", "server_2").stdout.splitlines()) == 1
    assert run(client, "verify", "none", "--absent").exit_code == 0


def test_verify_names_the_copy_that_differs(client: FakeClient) -> None:
    client.put(b"k", b"v")
    client.copies[2] = {b"k": Value(b"stale", 0)}
    result = run(client, "verify", "k", "v")
    assert result.exit_code == 1
    assert 'server_2  secondary  DIFFERS  holds "stale", version 0' in result.stdout
    assert one_sentence(result) == '1 of 2 copies of "k" differ from "v"'
    result = run(client, "verify", "k", "--absent", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "key": "k",
        "matches": False,
        "copies": [
            {"server": 1, "role": "primary", "matches": False, "value": "v", "version": 1},
            {"server": 2, "role": "secondary", "matches": False, "value": "stale", "version": 0},
        ],
    }


def test_verify_without_an_answer_is_no_agreement(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "verify", lambda *_: [])
    result = run(client, "verify", "k", "v")
    assert result.exit_code == 3
    assert "no copy" in one_sentence(result)
