"""A row of the table: puts through the line port against etcd, with the same load generator."""

from __future__ import annotations

from benchmarks.comparing import Bound, Comparison, alternate
from benchmarks.lines import KEYS, SHAPE, figures, line_cluster
from benchmarks.loading import places_of, run
from benchmarks.peers import ETCD_MEMBERS, etcd

ENGINES = {"on disk (lmdb, sync)": ("--engine", "lmdb"), "in memory": ()}
TARGET = 5.0
"""For writes that are on the disks of all copies."""


def rows(runs: int, seconds: float) -> list[Comparison | Bound]:
    """SET on two copies against a put that a majority of three members has on its disk. In memory that is no fair race.

    The load goes to all members, as a client that knows them would spread it.
    """
    found: list[Comparison | Bound] = []
    for engine, options in ENGINES.items():
        with line_cluster(*SHAPE, *options) as port, etcd() as members:
            places, peers = places_of(port), [str(member) for member in members]
            ours, theirs = alternate(
                runs,
                lambda where=places: figures(run("set", where, in_flight=1, seconds=seconds, keys=KEYS)),  # type: ignore[misc]
                lambda where=peers: figures(run("etcd", where, in_flight=1, seconds=seconds, keys=KEYS)),  # type: ignore[misc]
            )
        name = f"put, 2 copies {engine}, P=1, etcd ({ETCD_MEMBERS} members, fsync)"
        target = TARGET if options else None
        found.append(Comparison(name, "/s", ours[0], theirs[0], target))
        found.append(Comparison(f"{name}, p99", "us", ours[1], theirs[1], None, more_is_better=False))
    return found
