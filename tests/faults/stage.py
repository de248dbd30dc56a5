"""What a scenario is given: a report, a directory, a seed; and what it leaves behind."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import attrs

from tests.acceptance.report import Report
from tests.faults.network import Network
from tests.faults.processes import PORT, Subordinate
from tests.faults.scene import RECOVERY_SECONDS_MAX, Figures, Scene


@attrs.define
class Stage:
    """One run of one scenario."""

    name: str
    report: Report
    directory: Path
    seed: int = 1
    keep: Path | None = None
    """Where the histories and the logs go; None: nowhere."""
    recovery_seconds_max: float = RECOVERY_SECONDS_MAX
    """Within which all has to be whole again, unless the scenario says otherwise."""
    scenes: list[Scene] = attrs.Factory(list)

    @property
    def random(self) -> random.Random:
        """A generator of this seed."""
        return random.Random(self.seed)

    def scene(self, **options: Any) -> Scene:
        """A cluster: see `Scene`."""
        number = len(self.scenes)
        name = self.name if not number else f"{self.name}-{number + 1}"
        options = {"keep": self.keep, "recovery_seconds_max": self.recovery_seconds_max} | options
        scene = Scene(self.report, self.directory / name, self.seed, name=name, **options)
        self.scenes.append(scene)
        return scene

    def network(self, servers: int, *more: str) -> AbstractContextManager[Network]:
        """A node for the coordinator, one for each server, and others."""
        return Network(["coordinator", *(f"server_{i}" for i in range(1, servers + 1)), *more])

    @contextmanager
    def proxy(self, network: Network, server: int) -> Iterator[Subordinate]:
        """A proxy on the node "proxy", by way of which all other servers reach this one."""
        target = f"server_{server}"
        others = [name for name in network.addresses if name.startswith("server_") and name != target]
        for name in others:
            network.redirect(name, target, through="proxy")
        where = [f"{network.addresses[name]}:{PORT}" for name in ("proxy", target)]
        log = self.directory / "proxy.log"
        proxy = Subordinate("tests.faults.proxy", *where, before=network.enter("proxy"), log=log)
        try:
            proxy.ask()
            yield proxy
        finally:
            proxy.end()

    @property
    def figures(self) -> Figures:
        """Of all scenes together."""
        total = Figures()
        for figures in (scene.figures for scene in self.scenes):
            total.operations += figures.operations
            total.unknown += figures.unknown
            total.faults += figures.faults
            total.stall_seconds = max(total.stall_seconds, figures.stall_seconds)
            total.recoveries += figures.recoveries
        return total


@attrs.frozen
class Scenario:
    """A name, what it is, and how it goes."""

    run: Callable[..., None]
    needs: tuple[str, ...] = ()
    """"network": network namespaces. "disks": file systems of its own. "tracing": strace. "clocks": libfaketime."""
    short: Mapping[str, Any] = attrs.Factory(dict)
    """What makes it short enough for every test run."""

    @property
    def name(self) -> str:
        """As it is given on the command line."""
        return self.run.__name__.replace("_", "-")

    @property
    def about(self) -> str:
        """Its first sentence."""
        return (self.run.__doc__ or "").strip().split("\n")[0]


def named(scenarios: Sequence[Scenario], names: Sequence[str]) -> list[Scenario]:
    """Those with these names, in the order in which they stand; all if none is given. Raises ValueError."""
    known = [scenario.name for scenario in scenarios]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"there is no scenario {', '.join(unknown)}: choose from {', '.join(known)}")
    return [scenario for scenario in scenarios if not names or scenario.name in names]
