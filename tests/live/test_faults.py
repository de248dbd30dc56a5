"""A small part of `make faults`: what needs no root, with recorded histories that both checkers judge.

How long a recovery may take is for `make faults` to say; here it has to come to an end.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.report import Report
from tests.faults import crashes, pauses
from tests.faults.stage import Scenario, Stage
from tests.live.cluster import PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("run", "options"),
    [
        (crashes.kill_primary, {"kills": 1}),
        (pauses.freeze_primary, {}),
        (crashes.coordinator_dies_at_commit, {"deaths": [("after", 6)]}),
    ],
    ids=["killed_primary", "stale_read_hunt", "coordinator_dies_at_commit"],
)
def test_a_scenario(run: Callable[..., None], options: dict[str, Any], tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    report = Report(f"{Scenario(run).about} (seed {seed})")
    run(Stage(Scenario(run).name, report, tmp_path, seed, recovery_seconds_max=PATIENCE_SECONDS), **options)
    assert not report.failed, "see what it has printed"
