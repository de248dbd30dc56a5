"""`twistd twistedkv cluster`: a coordinator with servers of its own, all of which end with it.

With a durable engine the servers come back with their data. With the engine in memory the data ends with a run of the
cluster, while the map store stays: epochs go on growing and the journal goes on. After a run that was stopped in order
that is what was wanted, and a new, empty cluster is begun. After one that was killed, somebody has to say that the loss
is accepted.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twistedkv.core.planner import Planner
from twistedkv.core.steps import Step
from twistedkv.service.config import storage_text
from twistedkv.service.coordinator import CoordinatorService
from twistedkv.service.ready import announce, command_line
from twistedkv.service.stores import stores_in

log = Logger()


class ClusterService(CoordinatorService):
    """A coordinator whose options have `spawn` and `owns_servers` set."""

    def first_step(self, planner: Planner, now: float) -> Step:
        """Every server of the stored map ended with the previous run."""
        in_order = self.store.stopped_in_order()
        self.store.set_stopped_in_order(False)
        had_shards = bool(planner.state.shards)
        if stores_in(self.options.base_dir) and not self.options.accept_loss:
            text = f"the cluster was started at {self.address}; its servers come back with their data"
            return planner.started(now, children_gone=False, anew=False, text=text)
        anew = in_order or self.options.accept_loss or not had_shards
        text = f"the cluster was started at {self.address}"
        if had_shards:
            text += "; the previous run " + ("was stopped in order" if in_order else "was killed")
        step = planner.started(now, children_gone=True, anew=anew, text=text)
        if not anew:
            log.error(
                "the previous run of this cluster was killed, and its data with it: {count} shards are LOST. "
                "To go on with empty shards: `{command} admin accept-loss all`, or start with --accept-loss",
                count=len(planner.state.shards),
                command=command_line(self.address),
            )
        return step

    def end_servers(self) -> Deferred[bool]:
        """Have all of them end, and wait for it. Fires with whether none had to be killed."""
        self.connections.shut_down_servers()
        if self.spawner is None:
            return super().end_servers()
        return self.spawner.stop(kill=True)

    def became_ready(self) -> None:
        """Every shard is served, for the first time: tell the person who waits for it."""
        super().became_ready()
        servers = self.whole_map().servers
        options = self.options
        lines = [(s.host, s.line_port) for _, s in sorted(servers.items()) if s.line_port]
        announce(self.address, lines, storage_text(options.engine, options.durability, options.sync_interval))
