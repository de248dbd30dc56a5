"""Compare many replies of line ports with those of a real Redis: `python -m tests.line.long 1000000 [--seed 1]`."""

from __future__ import annotations

import argparse
import sys
import time
from random import Random

from tests.line.systems import systems

SEGMENTS = 30
REQUESTS_MAX = 120
"""Of a segment, which is sent as one stream of bytes."""


def main(arguments: list[str]) -> int:
    """The exit code: 0 when all was the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, help="replies to compare")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=10, help="servers to kill meanwhile, at about even distances")
    parser.add_argument("--keep-going", action="store_true", help="print differences and go on")
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    rounds = differences = 0
    with systems() as both:
        while both.compared < options.count:
            rounds += 1
            seed = options.seed * 1_000_003 + rounds
            kill = both.killed * options.count < options.kills * both.compared
            difference = both.play(Random(seed), SEGMENTS, REQUESTS_MAX, kill)
            if difference is not None:
                differences += 1
                print(f"DIFFERENT in round {rounds} of seed {options.seed}{', with a kill' if kill else ''}:")
                print(difference.describe(), flush=True)
                if not options.keep_going:
                    return 1
    print(
        f"{both.compared:,} replies compared in {time.monotonic() - begun:.0f} s (seed {options.seed}, "
        f"{rounds:,} rounds, {both.killed} servers killed): {both.errors:,} of them errors, {both.tolerated:,} with "
        f"another order, time or measure as expected, {differences or 'no'} difference{'s' if differences > 1 else ''}"
    )
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
