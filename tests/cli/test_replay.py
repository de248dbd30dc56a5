"""replay and generate-workload."""

import json
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli.fakes import FakeClient, on_a_terminal, one_sentence, run
from twistedkv.cli.replay import Replay
from twistedkv.client.results import Value
from twistedkv.errors import OutcomeUnknown, Unavailable
from twistedkv.workload import Operation, Verb, parse_lines

ALL_VERBS = b"""\
0 "k"
P "k" "v"

G "k"
G "none"
C "k" "v"
V "k" "v" 2
C "none" " "
V "none" " "
"""


def reports(result: Result) -> list[str]:
    """The lines before the summary."""
    lines = result.stdout.splitlines()
    return lines[: next(i for i, line in enumerate(lines) if line.startswith("checks: ")) - 1]


def test_all_verbs(client: FakeClient) -> None:
    result = run(client, "replay", stdin=ALL_VERBS)
    assert result.exit_code == 0
    assert reports(result) == [
        "no operation",
        'value["k"] <- "v"',
        'value["k"] == "v"',
        'value["none"] does not exist',
        'Check #5 passed: value["k"] == "v"',
        'Check #6 passed: value["k"] == "v"',
        'Check #7 passed: value["k"] == "v"',
        'Check #8 passed: value["none"] does not exist',
        'Check #9 passed: value["none"] does not exist',
    ]
    assert client.noops == 1
    assert "9 operations in " in result.stdout
    assert "checks: 5 passed, 0 failed" in result.stdout
    assert "longest stall: " in result.stdout


def test_quiet_and_json(client: FakeClient) -> None:
    assert reports(run(client, "replay", "--quiet", stdin=ALL_VERBS)) == []
    client.data.clear()
    result = run(client, "replay", "--json", stdin=ALL_VERBS + b'C "k" "w"\n')
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["latency_ms"].keys() == {"p50", "p99"}
    assert document["longest_stall_ms"] >= document["longest_operation_ms"]
    counts = ("operations", "operations_failed", "checks_passed", "checks_failed", "complete")
    assert [document[name] for name in counts] == [10, 0, 5, 1, True]
    assert result.stderr.startswith('Check #10 failed: value["k"] == "v", expected "w" (line 10)\n')


def test_failed_checks(client: FakeClient) -> None:
    client.put(b"k", b"v")
    result = run(client, "replay", "--max-failures", "0", stdin=b'C "k" "w"\nC "k" " "\nV "none" "x"\nC "k" "v"\n')
    assert result.exit_code == 1
    assert reports(result) == [
        'Check #1 failed: value["k"] == "v", expected "w" (line 1)',
        'Check #2 failed: value["k"] == "v", expected that it does not exist (line 2)',
        'Check #3 failed: value["none"] does not exist, expected "x" (line 3)',
        'Check #4 passed: value["k"] == "v"',
    ]
    assert one_sentence(result) == "3 checks failed"


def test_copies_that_differ(client: FakeClient) -> None:
    client.put(b"k", b"v")
    client.copies[2] = {b"k": Value(b"old", 0)}
    result = run(client, "replay", "-q", stdin=b'V "k" "v"\nC "k" "v"\n')
    assert result.exit_code == 1
    assert reports(result) == [
        'primary-secondary mismatch for key "k": server_1 (primary) has "v", server_2 (secondary) has "old"',
        'Check #1 failed: value["k"] == "old", expected "v" (line 1)',
    ]


def test_no_copy_is_no_passed_check(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "verify", lambda key, value: [])
    result = run(client, "replay", stdin=b'V "k" " "\n')
    assert result.exit_code == 1
    assert reports(result)[0].startswith("Check #1 failed: no copy answered")


def test_it_stops_after_two_failures(client: FakeClient) -> None:
    client.failures[b"bad"] = Unavailable("no server served it")
    workload = b'P "bad" "1"\nP "good" "1"\nG "bad"\nP "later" "1"\n'
    result = run(client, "replay", stdin=workload)
    assert result.exit_code == 3
    assert reports(result) == [
        "Operation #1 failed with: no server served it (line 1)",
        'value["good"] <- "1"',
        "Operation #3 failed with: no server served it (line 3)",
    ]
    assert one_sentence(result) == "2 operations failed; stopped after 2, see --max-failures"
    assert b"later" not in client.data
    assert run(client, "replay", "--max-failures", "3", stdin=workload).exit_code == 3
    assert b"later" in client.data


def test_repetitions_stop_too(client: FakeClient) -> None:
    client.failures[b"bad"] = OutcomeUnknown("perhaps")
    result = run(client, "replay", "--max-failures", "1", stdin=b'P "bad" "1" 1000\n')
    assert result.exit_code == 4
    assert "outcome" in one_sentence(result)
    assert "1 operation in" in result.stdout


def test_a_mistake_in_a_file_is_found_before_anything_is_done(client: FakeClient, tmp_path: Path) -> None:
    file = tmp_path / "workload"
    file.write_bytes(b'P "k" "v"\nP k v\n')
    result = run(client, "replay", str(file))
    assert result.exit_code == 2
    assert one_sentence(result).startswith("line 2: expected a key in double quotes after P")
    assert client.data == {}
    file.write_bytes(b'P "k" "%s"' % (b"x" * 10_000))
    assert "line 1: a line has at most" in one_sentence(run(client, "replay", str(file)))
    assert run(client, "replay", str(tmp_path / "none")).exit_code == 2


def test_a_mistake_in_standard_input_ends_it_with_the_summary(client: FakeClient) -> None:
    result = run(client, "replay", stdin=b'P "k" "v"\nP k v\nP "l" "v"\n')
    assert result.exit_code == 2
    assert "1 operation in" in result.stdout
    assert one_sentence(result).startswith("line 2: ")
    assert set(client.data) == {b"k"}


def test_interactive(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch)
    client.failures[b"bad"] = Unavailable("gone")
    result = run(client, "replay", stdin=b'P "k" "v"\nhelp\n' + b'G "bad"\n' * 3 + b'G "k"\n')
    assert result.exit_code == 3
    assert reports(result)[:2] == ['> value["k"] <- "v"', "> > Operation #2 failed with: gone"]
    assert '> value["k"] == "v"' in result.stdout
    assert "begins with 'help'" in result.stderr


def test_stalls_are_measured() -> None:
    client = FakeClient()
    times = iter([0.0, 0.0, 0.1, 0.1, 1.1, 1.1, 1.2, 1.2])
    printed: list[str] = []
    replay = Replay(client, print_line=printed.append, clock=lambda: next(times))
    operations = [(1, Operation(Verb.PUT, b"k", b"v", 3))]
    assert replay.run(iter(operations))
    document = replay.as_json(complete=True)
    assert document["longest_stall_ms"] == 1000
    assert document["latency_ms"] == {"p50": 100, "p99": 1000}
    assert printed == ['value["k"] <- "v"'] * 3


def test_a_generated_workload_replays(client: FakeClient, tmp_path: Path) -> None:
    file = tmp_path / "workload.txt"
    args = ["--operations", "500", "--put-percent", "20", "--keys", "30", "--seed", "7"]
    assert run(client, "generate-workload", *args, "-o", str(file)).exit_code == 0
    assert run(client, "generate-workload", *args).stdout_bytes == file.read_bytes()
    result = run(client, "replay", "--quiet", str(file))
    assert result.exit_code == 0
    assert "500 operations in" in result.stdout
    assert "checks: 400 passed, 0 failed" in result.stdout
    assert len(client.data) == 30


def test_the_default_workload(client: FakeClient) -> None:
    lines = run(client, "generate-workload").stdout_bytes.splitlines()
    operations = [operation for _, operation in parse_lines(lines)]
    assert len(operations) == 21_000
    assert sum(operation.verb is Verb.PUT for operation in operations) == 1050


@pytest.mark.parametrize(
    "args", [["--operations", "0"], ["--put-percent", "0"], ["--put-percent", "101"], ["--keys", "5000"]]
)
def test_impossible_workloads(client: FakeClient, args: list[str]) -> None:
    assert run(client, "generate-workload", *args).exit_code == 2
