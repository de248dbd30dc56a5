"""Commands on several keys."""

import json

import pytest

from tests.cli.fakes import FakeClient, on_a_terminal, one_sentence, run
from twistedkv.errors import OutcomeUnknown, Unavailable


def lines_as_json(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_scan(client: FakeClient) -> None:
    client.put(b"a\t1", b"x\ny")
    client.put(b"\xff", b"\x80")
    client.put(b"b", b"")
    assert run(client, "scan").stdout_bytes == b"a\\t1\n\xff\nb\n"
    assert run(client, "scan", "--values").stdout_bytes == b"a\\t1\tx\\ny\n\xff\t\x80\nb\t\n"
    assert run(client, "scan", "--prefix", "a").stdout_bytes == b"a\\t1\n"
    assert run(client, "scan", "--prefix", "ff", "--hex").stdout_bytes == b"\xff\n"
    assert run(client, "scan", "--limit", "2").stdout_bytes.count(b"\n") == 2
    assert run(client, "scan", "--prefix", "none").stdout == ""
    assert lines_as_json(run(client, "scan", "--json", "--limit", "1").stdout) == [{"key": "a\t1", "version": 1}]
    assert lines_as_json(run(client, "scan", "--json", "--values").stdout) == [
        {"key": "a\t1", "value": "x\ny", "version": 1},
        {"key_base64": "/w==", "value_base64": "gA==", "version": 2},
        {"key": "b", "value": "", "version": 3},
    ]


def test_scan_that_breaks_off(client: FakeClient) -> None:
    client.put(b"a", b"")
    client.put(b"b", b"")
    client.failures[b"b"] = Unavailable("shard 1 did not answer")
    result = run(client, "scan")
    assert result.exit_code == 3
    assert result.stdout == "a\n"
    assert one_sentence(result) == "shard 1 did not answer"


def test_mget(client: FakeClient) -> None:
    client.put(b"a", b"1\t")
    client.put(b"b", b"2")
    result = run(client, "mget", "b", "a")
    assert (result.exit_code, result.stdout) == (0, "b\t2\na\t1\\t\n")
    result = run(client, "mget", "a", "c", "d")
    assert (result.exit_code, result.stdout) == (1, "a\t1\\t\n")
    assert one_sentence(result) == 'no such key: "c", "d"'
    result = run(client, "mget", "a", "c", "--json")
    assert result.exit_code == 1
    assert lines_as_json(result.stdout) == [
        {"key": "a", "value": "1\t", "version": 1},
        {"key": "c", "value": None, "version": None},
    ]
    assert run(client, "mget").exit_code == 2


def test_mput_of_arguments(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(client, "mput", "a", "1", "b", "-", "--json")
    assert lines_as_json(result.stdout) == [{"key": "a", "version": 1}, {"key": "b", "version": 2}]
    assert client.data[b"b"].value == b"-"
    assert run(client, "mput", "a", "2").output == ""
    run(client, "mput", "--hex", "ff", "00")
    assert client.data[b"\xff"].value == b"\0"
    on_a_terminal(monkeypatch)
    assert run(client, "mput", "a", "3", "b", "3").stderr == "stored 2 keys\n"


def test_mput_of_standard_input(client: FakeClient) -> None:
    assert run(client, "mput", stdin=b"a\t1\n\nb\t\\n\xff\n").exit_code == 0
    assert {key: held.value for key, held in client.data.items()} == {b"a": b"1", b"b": b"\n\xff"}
    assert run(client, "mput", "-", stdin=b"c\t3").exit_code == 0
    assert client.data[b"c"].value == b"3"
    assert run(client, "mput", stdin=b"").exit_code == 0


def test_wrong_pairs_store_nothing(client: FakeClient) -> None:
    result = run(client, "mput", "a", "1", "b")
    assert result.exit_code == 2
    assert "'b' has no value" in result.stderr
    result = run(client, "mput", stdin=b"a\t1\nb\n")
    assert result.exit_code == 2
    assert one_sentence(result).startswith("line 2: expected key, tab, value")
    assert client.data == {}


def test_mput_names_what_failed(client: FakeClient) -> None:
    client.failures[b"b"] = Unavailable("no server served it")
    result = run(client, "mput", "a", "1", "b", "2", "c", "3")
    assert result.exit_code == 3
    assert result.stderr.splitlines() == [
        "no server served it",
        "Error: 1 of 3 keys failed, named above; the others are stored",
    ]
    assert set(client.data) == {b"a", b"c"}
    client.failures[b"c"] = OutcomeUnknown("the connection was lost")
    assert run(client, "mput", "a", "1", "b", "2", "c", "3").exit_code == 4
