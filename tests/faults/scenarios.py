"""All scenarios, in the order in which they run."""

from __future__ import annotations

from tests.faults import crashes, cuts, links, pauses
from tests.faults.stage import Scenario

SCENARIOS = (
    Scenario(crashes.kill_primary),
    Scenario(crashes.kill_backup),
    Scenario(crashes.kill_coordinator_then_primary),
    Scenario(pauses.freeze_primary),
    Scenario(cuts.isolate_primary, network=True),
    Scenario(cuts.cut_primary_from_coordinator, network=True),
    Scenario(cuts.cut_primary_to_backup, network=True),
    Scenario(crashes.kill_source_of_fill),
    Scenario(crashes.kill_target_of_fill),
    Scenario(pauses.switch_primary),
    Scenario(crashes.kill_all),
    Scenario(links.starve_backup, network=True),
    Scenario(pauses.random_pauses),
    Scenario(crashes.coordinator_dies_at_commit),
    Scenario(cuts.lose_packets, network=True),
    Scenario(links.half_open_links, network=True),
    Scenario(links.late_links, network=True),
    Scenario(links.broken_links, network=True),
)
"""The first twelve are the standing ones."""
