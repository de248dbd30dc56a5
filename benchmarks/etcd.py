"""A row of the table: puts through the line port against etcd, with the same load generator."""

from __future__ import annotations

from benchmarks.comparing import Bound, Comparison, alternate
from benchmarks.lines import KEYS, figures, line_cluster
from benchmarks.loading import places_of, run
from benchmarks.peers import ETCD_MEMBERS, etcd


def rows(runs: int, seconds: float) -> list[Comparison | Bound]:
    """SET on two copies in memory, against a put that a majority of three members has on its disk: no fair race.

    The load goes to all members, as a client that knows them would spread it. The target, five times, is for writes
    that are durable on our side too.
    """
    with line_cluster() as port, etcd() as members:
        places, peers = places_of(port), [str(member) for member in members]
        ours, theirs = alternate(
            runs,
            lambda: figures(run("set", places, in_flight=1, seconds=seconds, keys=KEYS)),
            lambda: figures(run("etcd", peers, in_flight=1, seconds=seconds, keys=KEYS)),
        )
    name = f"put, 2 copies in memory, P=1, etcd ({ETCD_MEMBERS} members, fsync)"
    return [
        Comparison(name, "/s", ours[0], theirs[0], None),
        Comparison(f"{name}, p99", "us", ours[1], theirs[1], None, more_is_better=False),
    ]
