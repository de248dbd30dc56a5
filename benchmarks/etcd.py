"""Rows of the table: puts through the line port against etcd, with the same load generator."""

from __future__ import annotations

from benchmarks.comparing import Bound, Comparison, alternate
from benchmarks.lines import KEYS, SHAPE, figures, line_cluster
from benchmarks.loading import places_of, run
from benchmarks.peers import etcd

CONNECTIONS = 50
ENGINES = {"on disk": (("--engine", "lmdb"), (1, 16)), "in memory": ((), (1,))}
"""Options for the cluster, and how much is in flight."""
TARGET = 5.0
"""For writes that are on the disks of all copies."""


def rows(runs: int, seconds: float) -> list[Comparison | Bound]:
    """SET on two copies against a put that a majority of three members has on its disk. In memory that is no fair race.

    The load goes to all members, as a client that knows them would spread it. A connection of etcd's gateway has one
    request at a time, so where ours has P in flight on each, etcd has P times as many connections.
    """
    found: list[Comparison | Bound] = []
    for engine, (options, pressures) in ENGINES.items():
        with line_cluster(*SHAPE, *options) as port, etcd() as members:
            places, peers = places_of(port), [str(member) for member in members]
            for in_flight in pressures:
                load = {"seconds": seconds, "keys": KEYS}
                mine = {"connections": CONNECTIONS, "in_flight": in_flight, **load}
                others = {"connections": CONNECTIONS * in_flight, "in_flight": 1, **load}
                ours, theirs = alternate(
                    runs,
                    lambda where=places, how=mine: figures(run("set", where, **how)),  # type: ignore[misc]
                    lambda where=peers, how=others: figures(run("etcd", where, **how)),  # type: ignore[misc]
                )
                name = f"put, 2 copies {engine}, P={in_flight}, etcd"
                found.append(Comparison(name, "/s", ours[0], theirs[0], TARGET if options else None))
                found.append(Comparison(f"{name}, p99", "us", ours[1], theirs[1], None, more_is_better=False))
    return found
