"""What may be taken out of service, and what may not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.torture.scenes import FakeCluster
from twistedkv.torture.promise import objection


def test_one_of_two_copies_may_fail_when_everything_is_well() -> None:
    look = FakeCluster().make_look()
    assert [objection(look, [server], set()) for server in (1, 2, 3)] == ["", "", ""]
    assert "no other healthy copy" in objection(look, [1, 2], set())


def test_two_of_three_copies_may_fail() -> None:
    look = FakeCluster(5, 3).make_look()
    assert objection(look, [1, 2], set()) == ""
    assert "no other healthy copy" in objection(look, [1, 2, 3], set())
    assert "no other healthy copy" in objection(look, [2, 3], {1})


def test_who_is_in_trouble_counts_as_failed() -> None:
    look = FakeCluster().make_look()
    assert objection(look, [1], {2}) == "shard 0 has no other healthy copy"
    assert objection(look, [1], {1}) == "server 1 has not recovered yet"


def test_neighbours_alone_matter() -> None:
    look = FakeCluster(6).make_look()
    assert objection(look, [1], {3, 4}) == ""
    assert objection(look, [1], {6}) != ""


@pytest.mark.parametrize("trouble", ["failed", "silent"])
def test_who_is_not_heard_of_is_no_other_copy(trouble: str) -> None:
    cluster = FakeCluster()
    if trouble == "failed":
        cluster.failed.add(2)
    else:
        cluster.silent[2] = 0.61
    assert objection(cluster.make_look(), [1], set()) != ""
    assert objection(cluster.make_look(), [2], set()) == "server 2 is not there"


def test_a_new_process_does_not_count_for_what_the_old_one_held() -> None:
    cluster = FakeCluster()
    look = cluster.make_look()
    servers: list[dict[str, Any]] = look.status["servers"]
    servers[1]["store"] = "another"
    assert objection(look, [1], set()) == "shard 0 has no other healthy copy"


def test_a_learner_is_no_copy_and_its_loss_is_no_harm() -> None:
    cluster = FakeCluster()
    look = cluster.make_look()
    shard = look.map["shards"][0]
    shard["learners"] = shard["secondaries"]
    shard["secondaries"] = []
    assert objection(look, [1], set()) == "shard 0 has no other healthy copy"
    assert objection(look, [2], set()) == ""


def test_nothing_is_done_to_a_cluster_that_has_lost_something() -> None:
    look = FakeCluster().make_look()
    look.map["shards"][2]["lost"] = True
    assert objection(look, [1], set()) == "shard 2 has no other healthy copy"
