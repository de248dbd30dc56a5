"""status and map."""

import json
from typing import Any

import pytest

from tests.cli import documents
from tests.cli.fakes import FakeClient, on_a_terminal, one_sentence, run
from twistedkv.cli import status as status_module
from twistedkv.errors import Unavailable


class Pauses:
    """In place of `time`: sleeps are counted, and the last one is interrupted by the user."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.allowed -= 1
        if self.allowed < 0:
            raise KeyboardInterrupt

    def monotonic(self) -> float:
        return self.now


def test_status_for_people_and_programs(client: FakeClient) -> None:
    client.answers["status"] = documents.status()
    result = run(client, "status")
    assert result.exit_code == 0
    assert "server_3" in result.stdout
    assert "\x1b" not in result.stdout
    assert json.loads(run(client, "status", "--json").stdout) == documents.status()
    assert client.asked == [("status", {}), ("status", {})]


def test_status_check(client: FakeClient) -> None:
    client.answers["status"] = documents.status()
    assert run(client, "status", "--check").exit_code == 0
    client.answers["status"] = documents.status(healthy=False)
    assert run(client, "status").exit_code == 0
    result = run(client, "status", "--check")
    assert result.exit_code == 1
    assert "not healthy" in one_sentence(result)


def test_watch_into_a_pipe_prints_what_has_changed(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(
        [
            documents.status(),
            documents.status(servers=[documents.server(i, last_beat_seconds=0.05) for i in (1, 2, 3)]),
            documents.status(map_version=43),
        ]
    )
    client.answers["status"] = lambda: next(answers)
    monkeypatch.setattr(status_module, "time", Pauses(2))
    result = run(client, "status", "--watch", "--json")
    assert result.exit_code == 130
    assert [json.loads(line)["map_version"] for line in result.stdout.splitlines()] == [42, 43]


def test_watch_on_a_terminal_outlasts_the_coordinator(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = Pauses(3)
    answers: list[Any] = [
        documents.status(),
        Unavailable("gone"),
        Unavailable("gone"),
        documents.status(map_version=43),
    ]

    def answer() -> dict[str, Any]:
        given = answers.pop(0)
        if isinstance(given, Exception):
            pauses.now += 1
            raise given
        return dict(given)

    client.answers["status"] = answer
    on_a_terminal(monkeypatch)
    monkeypatch.setattr(status_module, "time", pauses)
    monkeypatch.setenv("COLUMNS", "100")
    views = []
    view = status_module._view

    def recorded(status: dict[str, Any], silent_seconds: float) -> Any:
        views.append((status["map_version"], silent_seconds))
        return view(status, silent_seconds)

    monkeypatch.setattr(status_module, "_view", recorded)
    result = run(client, "status", "--watch")
    assert result.exit_code == 130
    assert views == [(42, 0), (42, 1.25), (42, 2.5), (43, 0)]


def test_watch_without_a_cluster(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.reachable = False
    on_a_terminal(monkeypatch)
    result = run(client, "status", "--watch")
    assert result.exit_code == 3
    assert "cannot reach the coordinator" in result.stderr


def test_the_map(client: FakeClient) -> None:
    assert "8192-16383" in run(client, "map").stdout
    assert json.loads(run(client, "map", "--json").stdout)["map_version"] == 7
