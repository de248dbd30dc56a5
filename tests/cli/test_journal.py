"""journal."""

import json
from typing import Any

from tests.cli import documents
from tests.cli.fakes import FakeClient, run


def answering(client: FakeClient, *pages: list[dict[str, Any]]) -> None:
    """Answer the first questions so, and all later ones with nothing new."""
    left = list(pages)

    def answer(after: int) -> dict[str, Any]:
        page = left.pop(0) if left else []
        assert all(event["number"] > after for event in page)
        return {"events": page}

    client.answers["journal"] = answer


def test_all_pages_are_printed(client: FakeClient) -> None:
    answering(client, [documents.event(3), documents.event(4)], [documents.event(5, shard=1)])
    result = run(client, "journal", "--after", "2")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["3", "4", "5"]
    assert client.asked == [("journal", {"after": after}) for after in (2, 4, 5)]


def test_json(client: FakeClient) -> None:
    answering(client, [documents.event(1), documents.event(2)])
    lines = run(client, "journal", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [documents.event(1), documents.event(2)]


def test_follow_goes_on_where_the_past_ends(client: FakeClient) -> None:
    answering(client, [documents.event(1)])
    client.followed = [documents.event(2), documents.event(3)]
    result = run(client, "journal", "--follow")
    assert result.exit_code == 130
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["1", "2", "3"]


def test_follow_needs_a_coordinator_to_begin_with(client: FakeClient) -> None:
    client.reachable = False
    assert run(client, "journal", "--follow").exit_code == 3


def test_numbers_are_not_negative(client: FakeClient) -> None:
    assert run(client, "journal", "--after", "-1").exit_code == 2
