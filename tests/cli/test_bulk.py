"""load and export."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.fakes import FakeClient, on_a_terminal, one_sentence, run
from tests.cli.test_lines import keys, values
from twistedkv.cli import bulk
from twistedkv.cli.lines import FORMATS
from twistedkv.errors import OutcomeUnknown, Unavailable


def contents(client: FakeClient) -> dict[bytes, bytes]:
    return {key: held.value for key, held in client.data.items()}


@pytest.mark.parametrize("format_", FORMATS)
@given(records=st.dictionaries(keys, values))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_what_is_exported_is_loaded_exactly(tmp_path: Path, format_: str, records: dict[bytes, bytes]) -> None:
    source, target = FakeClient(), FakeClient()
    for key, value in records.items():
        source.put(key, value)
    file = tmp_path / f"all.{format_}"
    assert run(source, "export", "-o", str(file)).exit_code == 0
    assert run(target, "load", str(file)).exit_code == 0
    assert contents(target) == records
    piped = FakeClient()
    exported = run(source, "export", "--format", format_).stdout_bytes
    assert exported == file.read_bytes()
    assert run(piped, "load", "-", "--format", format_, stdin=exported).exit_code == 0
    assert contents(piped) == records


def test_load_in_windows(client: FakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "WINDOW_RECORDS", 3)
    monkeypatch.setattr(bulk, "WINDOW_BYTES", 50)
    file = tmp_path / "records"
    file.write_bytes(b"".join(b"k%d\tv%d\n" % (i, i) for i in range(7)) + b"big\t" + b"x" * 60 + b"\nlast\t1")
    result = run(client, "load", str(file))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.startswith("loaded 9 records in ")
    assert "longest stall" in result.stderr
    assert [len(window) for window in client.puts] == [3, 3, 2, 1]
    assert len(client.data) == 9


def test_the_last_line_for_a_key_wins(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(client, "load", "-", "--json", stdin=b"k\t1\nother\t1\n\n\r\nk\t2\n")
    assert contents(client) == {b"k": b"2", b"other": b"1"}
    document = json.loads(result.stdout)
    assert document.pop("seconds") >= 0
    assert document.pop("records_per_second") >= 0
    assert document.pop("longest_stall_ms") >= 0
    assert document == {"records": 3, "failed": 0}
    monkeypatch.setattr(bulk, "WINDOW_RECORDS", 1)
    run(client, "load", "-", stdin=b"k\t1\nk\t3\n")
    assert contents(client)[b"k"] == b"3"


def test_white_space_is_data(client: FakeClient) -> None:
    run(client, "load", "-", stdin=b" \t \n\x0b\t\x0c\n")
    assert contents(client) == {b" ": b" ", b"\x0b": b"\x0c"}


def test_a_wrong_line_ends_it_and_what_came_before_is_stored(client: FakeClient) -> None:
    result = run(client, "load", "-", stdin=b"a\t1\nb\nc\t3\n")
    assert result.exit_code == 2
    assert one_sentence(result).startswith("line 2: expected key, tab, value")
    assert "(1 record stored; --continue goes on)" in result.stderr
    assert contents(client) == {b"a": b"1"}


def test_a_line_that_is_too_long(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "RECORD_LINE_BYTES_MAX", 10)
    result = run(client, "load", "-", stdin=b"a\t1\nb\t" + b"x" * 20)
    assert result.exit_code == 2
    assert "line 2: a line has at most 10 bytes" in one_sentence(result)
    assert contents(client) == {b"a": b"1"}


def test_a_record_that_fails_ends_it_with_its_line(client: FakeClient) -> None:
    client.failures[b"b"] = Unavailable("no server served it before the deadline")
    result = run(client, "load", "-", stdin=b"a\t1\nb\t2\nb\t3\nc\t4\n")
    assert result.exit_code == 3
    assert one_sentence(result).startswith("line 3: no server served it before the deadline")
    client.failures[b"b"] = OutcomeUnknown("perhaps")
    assert run(client, "load", "-", stdin=b"b\t2\n").exit_code == 4


def test_continue_names_all_failures_and_keeps_their_lines(client: FakeClient, tmp_path: Path) -> None:
    client.failures[b"b"] = Unavailable("no server served it")
    again = tmp_path / "again.jsonl"
    good = b"".join(b'{"key": "%s", "value": "1"}\n' % key for key in (b"a", b"b", b"c"))
    file = tmp_path / "in.jsonl"
    file.write_bytes(good + b"{}")
    result = run(client, "load", str(file), "--failures", str(again))
    assert result.exit_code == 3
    lines = result.stderr.splitlines()
    # The window that was being collected is stored before a wrong line is named: the order is that of the file.
    assert lines[0] == "line 2: no server served it"
    assert lines[1].startswith('line 4: expected either "key" or "key_base64"')
    assert lines[2].startswith("loaded 2 records")
    assert lines[3] == "Error: 2 lines failed, named above; the others are stored"
    assert again.read_bytes() == b'{"key": "b", "value": "1"}\n{}\n'
    assert set(client.data) == {b"a", b"c"}
    assert run(client, "load", "--continue", "-", stdin=b"x\ny\t1\n").exit_code == 2
    assert b"y" in client.data


def test_files_that_cannot_be_opened(client: FakeClient, tmp_path: Path) -> None:
    for args in (
        ["load", str(tmp_path / "none")],
        ["load", str(tmp_path)],
        ["load", "-", "--failures", str(tmp_path / "no" / "file")],
        ["export", "-o", str(tmp_path / "no" / "file")],
    ):
        result = run(client, *args)
        assert result.exit_code == 2
        assert "Cannot" in result.stderr


def test_load_without_a_cluster_reads_nothing(client: FakeClient) -> None:
    client.reachable = False
    result = run(client, "load", "-", stdin=b"wrong line\n")
    assert result.exit_code == 3
    assert "cannot reach the coordinator" in one_sentence(result)


def test_load_interrupted(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "WINDOW_RECORDS", 1)
    client.failures[b"b"] = KeyboardInterrupt()  # type: ignore[assignment]

    def mput(records: dict[bytes, bytes]) -> dict[bytes, int]:
        return {key: client.put(key, value) for key, value in records.items()}

    monkeypatch.setattr(client, "mput", mput)
    result = run(client, "load", "-", stdin=b"a\t1\nb\t2\n")
    assert result.exit_code == 130
    assert "interrupted: 1 record stored" in result.stderr


def test_a_progress_bar_on_a_terminal(client: FakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch)
    file = tmp_path / "records.tsv"
    file.write_bytes(b"".join(b"k%d\tv\n" % i for i in range(2000)))
    assert run(client, "load", str(file)).exit_code == 0
    result = run(client, "export", "-o", str(tmp_path / "out"), "--sorted")
    assert "exported 2,000 records" in result.stderr
    assert (tmp_path / "out").read_bytes() == b"".join(sorted(file.read_bytes().splitlines(keepends=True)))


def test_export_of_a_prefix_in_order(client: FakeClient) -> None:
    for key in (b"b2", b"a1", b"b1"):
        client.put(key, b"\xff" if key == b"b1" else b"v")
    assert run(client, "export", "--prefix", "b", "--sorted").stdout_bytes == b"b1\t\xff\nb2\tv\n"
    assert run(client, "export", "--prefix", "61", "--hex", "--format", "jsonl").stdout == (
        '{"key": "a1", "value": "v"}\n'
    )


def test_an_export_that_breaks_off_leaves_the_old_file(client: FakeClient, tmp_path: Path) -> None:
    client.put(b"a", b"1")
    client.put(b"b", b"2")
    client.failures[b"b"] = Unavailable("shard 3 did not answer")
    file = tmp_path / "all.tsv"
    file.write_bytes(b"old")
    result = run(client, "export", "-o", str(file))
    assert result.exit_code == 3
    assert one_sentence(result) == "shard 3 did not answer"
    assert [path.name for path in tmp_path.iterdir()] == ["all.tsv"]
    assert file.read_bytes() == b"old"
