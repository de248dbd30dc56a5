"""Clients of Redis as they are, in real use of a real cluster, through failovers. `make clients` installs them first.

    python -m tests.clients                          all of them, about three minutes
    python -m tests.clients redis-py ioredis         some of them
    python -m tests.clients --list                   what there is

Each connects as its users do: strings, counters, expiry, many keys, pipelines, transactions, scans, binary values, and
what it asks of the server itself. Then it goes on writing while a server is killed that it is not connected to, and
while the one is killed that it is connected to; what was acknowledged has to be there in the end. Clients that go to
the owner of a key themselves do so on two clusters, one of which answers for all keys and one (`--moved`) sends them
on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import attrs

from tests.clients import redis_tools
from tests.clients.cluster import LineCluster
from tests.clients.programs import ClientFailed, play

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NODE_MODULES = ROOT / ".clients" / "node_modules"

Said = Callable[[str], None]


@attrs.frozen
class Trial:
    """One client on one cluster."""

    name: str
    run: Callable[[LineCluster, Said], None]
    moved: bool = False
    """On the cluster that sends its clients to the server that has their keys."""


def _python(module: str, cluster: LineCluster, said: Said) -> None:
    play(cluster, [sys.executable, "-m", f"tests.clients.{module}"], {"PYTHONPATH": str(ROOT)}, said)


def _node(name: str, cluster: LineCluster, said: Said) -> None:
    play(cluster, ["node", str(HERE / "node" / f"{name}.cjs")], {"NODE_PATH": str(NODE_MODULES)}, said)


def _both(name: str, run: Callable[[LineCluster, Said], None]) -> list[Trial]:
    return [Trial(name, run), Trial(f"{name}-moved", run, moved=True)]


TRIALS = [
    Trial("redis-cli", redis_tools.redis_cli),
    Trial("redis-cli-moved", redis_tools.redis_cli_moved, moved=True),
    Trial("redis-benchmark", redis_tools.redis_benchmark),
    Trial("redis-benchmark-moved", redis_tools.redis_benchmark_moved, moved=True),
    Trial("redis-py", partial(_python, "redis_py")),
    *_both("redis-py-cluster", partial(_python, "redis_py_cluster")),
    Trial("redis-py-asyncio", partial(_python, "redis_py_asyncio")),
    *_both("redis-py-asyncio-cluster", partial(_python, "redis_py_asyncio_cluster")),
    Trial("txredisapi", partial(_python, "tx_redis_api")),
    Trial("node-redis", partial(_node, "node_redis")),
    *_both("node-redis-cluster", partial(_node, "node_redis_cluster")),
    Trial("ioredis", partial(_node, "io_redis")),
    *_both("ioredis-cluster", partial(_node, "io_redis_cluster")),
]


@contextmanager
def _cluster(*, moved: bool) -> Iterator[LineCluster]:
    with (
        tempfile.TemporaryDirectory(prefix="twistedkv-clients-") as directory,
        LineCluster(Path(directory), moved=moved) as cluster,
    ):
        cluster.begin()
        yield cluster


def _empty(cluster: LineCluster) -> None:
    """Remove what the one before has left."""
    cluster.healthy()
    for place in range(len(cluster.line_ports)):
        redis_tools.cli(cluster, "FLUSHALL", place=place)


def _tried(trial: Trial, cluster: LineCluster) -> bool:
    began = time.monotonic()
    print(f"== {trial.name}", flush=True)
    try:
        _empty(cluster)
        trial.run(cluster, lambda what: print(f"   {time.monotonic() - began:5.1f} s  {what}", flush=True))
    except (ClientFailed, AssertionError) as error:
        print(f"FAIL {trial.name}: {error}", flush=True)
        if not isinstance(error, ClientFailed):
            traceback.print_exc()
        with suppress(OSError):
            print((cluster.directory / "cluster.log").read_text("utf-8", "replace")[-2000:], flush=True)
        return False
    print(f"ok {trial.name}, {time.monotonic() - began:.1f} s", flush=True)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="which clients [all]")
    parser.add_argument("--list", action="store_true", help="say what there is")
    options = parser.parse_args(arguments)
    known = {trial.name: trial for trial in TRIALS}
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [known[name] for name in dict.fromkeys(options.names)] or TRIALS
    if options.list:
        print("\n".join(trial.name for trial in chosen))
        return 0
    if redis_tools.missing():
        print(redis_tools.missing(), file=sys.stderr)
        return 1
    failed = []
    for moved in (False, True):
        here = [trial for trial in chosen if trial.moved == moved]
        if here:
            with _cluster(moved=moved) as cluster:
                failed += [trial.name for trial in here if not _tried(trial, cluster)]
    names = f": {' '.join(failed)}" if failed else ""
    print(f"{len(chosen)} clients: {len(chosen) - len(failed)} ok, {len(failed)} failed{names}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
