"""The group: its help, options, exit codes."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from tests.cli.fakes import FakeClient, one_sentence, run
from twistedkv import __version__
from twistedkv.cli import COMMANDS, main
from twistedkv.errors import (
    InvalidRequest,
    NotDone,
    NotEnoughCopies,
    OutcomeUnknown,
    OutOfSpace,
    ProtocolError,
    ShardLost,
    Unavailable,
)


def test_the_first_line_of_each_commands_help_is_the_one_in_the_list() -> None:
    listed = CliRunner().invoke(main, ["--help"]).stdout
    for name, (_, text) in COMMANDS.items():
        assert f"  {name} " in listed
        own_help = CliRunner().invoke(main, [name, "--help"])
        assert own_help.exit_code == 0
        assert own_help.stdout.split("\n\n")[1].split() == text.split()


def test_every_command_shows_an_example_and_has_the_connection_options() -> None:
    for name in COMMANDS:
        text = CliRunner().invoke(main, [name, "--help"]).stdout
        if name != "admin":
            assert f"\n    twistedkv {name}" in text.partition("Example:")[2], name
            assert "\\b" not in text
        if name not in (
            "admin",
            "shell",
            "generate-workload",
            "simulate",
            "check",
            "torture",
        ):  # these need no coordinator
            assert "--coordinator" in text, name


def test_help_imports_neither_twisted_nor_rich() -> None:
    program = (
        "import sys\nfrom twistedkv.cli import main\n"
        "try:\n main(['--help'])\nexcept SystemExit:\n pass\n"
        "print(*[m for m in ('twisted', 'rich', 'twistedkv.cli.data') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""


def test_version(client: FakeClient) -> None:
    assert __version__ in run(client, "--version").stdout


def test_an_unknown_command_is_wrong_usage(client: FakeClient) -> None:
    result = run(client, "gett", "k")
    assert result.exit_code == 2
    assert "No such command" in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["--coordinator", "db:1", "--deadline", "2.5", "get", "k"],
        ["get", "k", "--coordinator", "db:1", "--deadline", "2.5"],
        ["--coordinator", "other:9", "get", "--coordinator", "db:1", "--deadline", "2.5", "k"],
    ],
)
def test_connection_options_stand_before_or_after_the_command(client: FakeClient, args: list[str]) -> None:
    run(client, *args)
    assert client.opened == [(["db:1"], 2.5)]


def test_the_coordinator_comes_from_the_environment(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWISTEDKV_COORDINATOR", raising=False)
    run(client, "get", "k")
    monkeypatch.setenv("TWISTEDKV_COORDINATOR", "a:1,b:2")
    run(client, "get", "k")
    run(client, "get", "k", "--coordinator", "[::1]:7400")
    assert client.opened == [(["127.0.0.1:7400"], 10.0), (["a:1", "b:2"], 10.0), (["[::1]:7400"], 10.0)]


@pytest.mark.parametrize("address", ["db", "db:", ":7400", "db:0", "db:65536", "db:x", "", "db:1,", "db:²"])
def test_an_address_that_is_none(client: FakeClient, address: str) -> None:
    result = run(client, "--coordinator", address, "get", "k")
    assert result.exit_code == 2
    assert "is not HOST:PORT" in result.stderr
    assert client.opened == []


@pytest.mark.parametrize("deadline", ["0", "-1", "soon"])
def test_a_deadline_that_is_none(client: FakeClient, deadline: str) -> None:
    assert run(client, "get", "k", "--deadline", deadline).exit_code == 2


@pytest.mark.parametrize("args", [["get", "k"], ["status"], ["map"], ["journal"], ["scan"], ["dump", "1"]])
def test_without_a_cluster_it_says_how_to_start_one(client: FakeClient, args: list[str]) -> None:
    client.reachable = False
    result = run(client, "--coordinator", "db:1", *args)
    assert result.exit_code == 3
    assert one_sentence(result) == (
        "cannot reach the coordinator at db:1: start one with `make run` or `twistd -n twistedkv cluster`, "
        "or give --coordinator; for keys, the address of a server will do as well"
    )


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (InvalidRequest("a key has 1 to 500 bytes"), 2),
        (NotDone("no"), 3),
        (Unavailable("no server served the shard"), 3),
        (OutOfSpace("no room"), 3),
        (NotEnoughCopies("too few"), 3),
        (OutcomeUnknown("perhaps"), 4),
        (ProtocolError("not the protocol"), 3),
    ],
)
def test_exit_codes(client: FakeClient, error: Exception, exit_code: int) -> None:
    client.failures[b"k"] = error
    result = run(client, "put", "k", "v")
    assert result.exit_code == exit_code
    assert one_sentence(result) == str(error)


def test_a_lost_shard_names_the_way_out(client: FakeClient) -> None:
    client.failures[b"k"] = ShardLost("shard 3 is lost")
    assert "twistedkv admin accept-loss" in one_sentence(run(client, "get", "k"))
    client.failures[b"k"] = ShardLost("shard 3 is lost; `twistedkv admin accept-loss 3` empties it")
    assert one_sentence(run(client, "get", "k")).count("accept-loss") == 1


def test_ctrl_c(client: FakeClient) -> None:
    client.failures[b"k"] = KeyboardInterrupt()  # type: ignore[assignment]
    assert run(client, "get", "k").exit_code == 130
