"""switch, dump, admin."""

import json

import pytest
from click.testing import CliRunner

from tests.cli.fakes import FakeClient, on_a_terminal, one_sentence, run
from twistedkv.cli import main
from twistedkv.errors import OperationError, OutcomeUnknown


@pytest.mark.parametrize("server", ["2", "server_2"])
def test_switch(client: FakeClient, server: str) -> None:
    client.answers["switch"] = {"shard": 0, "server": 2, "epoch": 9, "milliseconds": 3.14}
    assert run(client, "switch", "0", server).stdout == "server_2 is the primary of shard 0 (epoch 9, 3.1 ms)\n"
    assert json.loads(run(client, "switch", "0", server, "--json").stdout)["milliseconds"] == 3.14
    assert client.asked == [("switch", {"shard": 0, "server": 2})] * 2


@pytest.mark.parametrize("args", [["switch", "0"], ["switch", "x", "2"], ["switch", "0", "two"], ["dump", "server_"]])
def test_wrong_usage(client: FakeClient, args: list[str]) -> None:
    assert run(client, *args).exit_code == 2
    assert client.asked == []


def test_the_coordinators_refusal_is_passed_on(client: FakeClient) -> None:
    client.answers["switch"] = OperationError("there is no shard 99: the shards are 0 to 11")
    result = run(client, "switch", "99", "1")
    assert result.exit_code == 3
    assert one_sentence(result) == "there is no shard 99: the shards are 0 to 11"
    client.answers["switch"] = OutcomeUnknown("the connection was lost; see `twistedkv status`")
    assert run(client, "switch", "99", "1").exit_code == 4


def test_dump(client: FakeClient) -> None:
    client.answers["dump"] = {"files": ["/data/server_2.primary", "/data/server_2.secondary"]}
    assert run(client, "dump", "server_2").stdout.splitlines() == client.answers["dump"]["files"]
    assert json.loads(run(client, "dump", "2", "--json").stdout) == client.answers["dump"]
    assert client.asked[0] == ("dump", {"server": 2})


def test_accept_loss_is_not_done_by_accident(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.answers["accept-loss"] = {"shards": [3]}
    result = run(client, "admin", "accept-loss", "3")
    assert result.exit_code == 2
    assert "confirm it with --yes" in result.stderr
    on_a_terminal(monkeypatch)
    assert run(client, "admin", "accept-loss", "3", stdin="n\n").exit_code == 1
    assert client.asked == []
    result = run(client, "admin", "accept-loss", "3", stdin="y\n")
    assert result.stdout.endswith("1 shard made empty: 3\n")
    assert client.asked == [("accept-loss", {"shard": 3})]


def test_accept_loss_of_all(client: FakeClient) -> None:
    client.answers["accept-loss"] = {"shards": [3, 4]}
    assert run(client, "admin", "accept-loss", "all", "--yes").stdout == "2 shards made empty: 3, 4\n"
    client.answers["accept-loss"] = {"shards": []}
    assert run(client, "admin", "accept-loss", "all", "--yes").stderr == "no shard is lost\n"
    assert json.loads(run(client, "admin", "accept-loss", "all", "--yes", "--json").stdout) == {"shards": []}
    assert client.asked == [("accept-loss", {"shard": "all"})] * 3
    assert run(client, "admin", "accept-loss", "every", "--yes").exit_code == 2


def test_the_admin_group_lists_its_commands() -> None:
    result = CliRunner().invoke(main, ["admin", "-h"])
    assert "accept-loss" in result.output
