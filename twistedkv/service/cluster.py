"""`twistd twistedkv cluster`: a coordinator with servers of its own, all of which end with it."""

from __future__ import annotations

from twistedkv.service.coordinator import CoordinatorService


class ClusterService(CoordinatorService):
    """A coordinator whose options have `spawn` and `owns_servers` set."""
