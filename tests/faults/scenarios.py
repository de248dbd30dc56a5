"""All scenarios, in the order in which they run."""

from __future__ import annotations

from tests.faults import clocks, crashes, cuts, disks, links, pauses, powercuts
from tests.faults.stage import Scenario

SCENARIOS = (
    Scenario(crashes.kill_primary),
    Scenario(crashes.kill_backup),
    Scenario(crashes.kill_coordinator_then_primary),
    Scenario(pauses.freeze_primary),
    Scenario(cuts.isolate_primary, needs=("network",)),
    Scenario(cuts.cut_primary_from_coordinator, needs=("network",)),
    Scenario(cuts.cut_primary_to_backup, needs=("network",)),
    Scenario(crashes.kill_source_of_fill),
    Scenario(crashes.kill_target_of_fill),
    Scenario(pauses.switch_primary),
    Scenario(crashes.kill_all),
    Scenario(links.starve_backup, needs=("network",)),
    Scenario(pauses.random_pauses),
    Scenario(crashes.coordinator_dies_at_commit),
    Scenario(cuts.lose_packets, needs=("network",)),
    Scenario(links.half_open_links, needs=("network",)),
    Scenario(links.late_links, needs=("network",)),
    Scenario(links.broken_links, needs=("network",)),
    Scenario(powercuts.power_cut_node, needs=("disks",), short={"cuts": 1}),
    Scenario(powercuts.power_cut_all, needs=("disks",), short={"cuts": 2}),
    Scenario(powercuts.power_cut_young, needs=("disks",), short={"cuts": 1}),
    Scenario(powercuts.power_cut_interval, needs=("disks",), short={"cuts": 1}),
    Scenario(disks.disk_full, needs=("disks",)),
    Scenario(disks.disk_full_everywhere, needs=("disks",), short={"seconds": 2.0}),
    Scenario(clocks.clock_steps, needs=("clocks",)),
    Scenario(disks.sync_fails, needs=("tracing",), short={"times": 1}),
)
"""The first twelve are the standing ones."""
