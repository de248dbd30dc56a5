"""The twistd subcommands: options to services, and one sentence for what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.python import usage

from twistedkv import clock, tap
from twistedkv.service.cluster import ClusterService
from twistedkv.service.coordinator import CoordinatorService
from twistedkv.service.server import ServerService


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tap.Options]:
    """Options from arguments; the reactor's clock is put back at the end."""
    monkeypatch.setattr(reactor, "seconds", reactor.seconds)  # type: ignore[attr-defined]

    def parse(*arguments: str) -> tap.Options:
        options = tap.Options()
        options.parseOptions(list(arguments))
        return options

    return parse


def test_each_subcommand_makes_its_service(parsed: Callable[..., tap.Options], tmp_path: Path) -> None:
    cluster = tap.makeService(parsed("cluster", "--servers", "5", "--copies", "3", "--port", "0"))
    assert isinstance(cluster, ClusterService)
    assert cluster.options.servers == 5
    assert cluster.options.shards == 20
    assert cluster.options.owns_servers
    coordinator = tap.makeService(parsed("coordinator", "--spawn", "-b", str(tmp_path)))
    assert type(coordinator) is CoordinatorService
    assert coordinator.options.spawn
    assert not coordinator.options.owns_servers
    assert coordinator.options.base_dir == tmp_path
    server = tap.makeService(parsed("server", "--standby", "--coordinator", "[::1]:7401"))
    assert isinstance(server, ServerService)
    assert server.options.standby
    assert server.options.coordinator == ("::1", 7401)


def test_the_monotonic_clock_is_used_before_anything_else(parsed: Callable[..., tap.Options]) -> None:
    tap.makeService(parsed("coordinator"))
    assert reactor.seconds is clock.now  # type: ignore[attr-defined]


def test_the_file_is_read(parsed: Callable[..., tap.Options], tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("port = 7999\ncopies = 3")
    options = parsed("cluster", "--config", str(tmp_path / "c.toml"), "--copies", "1")
    assert options.subOptions.chosen.port == 7999
    assert options.subOptions.chosen.copies == 1


def test_what_is_wrong_ends_the_program_with_a_sentence(
    parsed: Callable[..., tap.Options], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="twistedkv: --port: expected a whole number from 0 to 65535, got 'x'"):
        parsed("cluster", "--port", "x")
    with pytest.raises(SystemExit, match="copies: 5 copies need as many servers"):
        parsed("cluster", "--copies", "5")
    with pytest.raises(usage.UsageError, match="coordinator, server or cluster"):
        parsed()
    with pytest.raises(usage.UsageError):
        parsed("cluster", "--nonsense")
    monkeypatch.setenv("TWISTEDKV_FAIL", "nonsense")
    with pytest.raises(SystemExit, match="TWISTEDKV_FAIL"):
        tap.makeService(parsed("coordinator"))


def test_the_help_names_every_option(capsys: pytest.CaptureFixture[str], parsed: Callable[..., tap.Options]) -> None:
    for command, knobs in (("cluster", tap.CLUSTER_KNOBS), ("server", tap.SERVER_KNOBS)):
        with pytest.raises(SystemExit):
            parsed(command, "--help")
        text = capsys.readouterr().out
        assert all(f"--{knob.name}" in text for knob in knobs)


def test_a_server_spares_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(tap.gc, "freeze", lambda: done.append("frozen"))
    monkeypatch.setattr(tap.gc, "set_threshold", lambda *thresholds: done.append(thresholds))
    tap.spare_the_collector()
    assert done == ["frozen", tap.COLLECTOR_THRESHOLDS]
