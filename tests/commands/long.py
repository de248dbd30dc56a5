"""Compare many commands with a real Redis: `python -m tests.commands.long 1000000 [--seed 1]`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from random import Random

from tests.commands.comparing import Comparison, drawn
from tests.support.redis_server import RedisConnection, redis_server

BATCH = 200
BATCHES_OF_ONE_STATE = 5
"""So many batches go on with the same keys; then both sides begin anew."""


def main(arguments: list[str]) -> int:
    """The exit code: 0 when all was the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, help="commands to compare")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    random = Random(options.seed)
    begun = time.monotonic()
    with redis_server() as port, contextlib.ExitStack() as stack:
        sides = []
        for protocol in (2, 3):
            connection = RedisConnection(port)
            stack.callback(connection.close)
            sides.append(Comparison(connection, protocol))
        rounds = 0
        while sum(side.compared for side in sides) < options.count:
            side = sides[rounds % 2]
            rounds += 1
            side.begin()
            for _ in range(BATCHES_OF_ONE_STATE):
                difference = side.run([*drawn(random, BATCH), *side.state()])
                if difference is not None:
                    print(f"DIFFERENT in RESP{side.protocol}, round {rounds}, seed {options.seed}:")
                    print(difference.describe())
                    return 1
    for side in sides:
        print(
            f"RESP{side.protocol}: {side.compared:,} commands compared, {side.errors:,} of them errors, "
            f"{side.tolerated:,} with another order, time or measure as expected"
        )
    total = sum(side.compared for side in sides)
    print(f"{total:,} commands compared in {time.monotonic() - begun:.0f} s (seed {options.seed}), no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
