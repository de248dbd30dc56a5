"""A row of the table: whether a server's memory stays what it is under an hour of load on a fixed set of keys.

`python -m benchmarks leak`, or `leak --seconds 120` to try it; it is not one of the rows that are measured when none
is named. Two loads of the program in C give the volume, SET and GET of 100,000 keys. Between them a client that comes
and goes sets, reads, deletes and lets expire 10,000 others. The figure is by how much the median of the resident memory
in the last quarter of the time is above that in the second one: the first is for growing into the load.
"""

from __future__ import annotations

import random
import socket
import statistics
import time
from collections.abc import Sequence

from benchmarks.comparing import Bound, Comparison
from benchmarks.frames import LoadError
from benchmarks.lines import line_cluster, resident
from benchmarks.loading import places_of, run, running
from twistedkv.resp.answers import AnswerDecoder, ErrorAnswer
from twistedkv.resp.replies import bulks

SECONDS = 3600.0
SAMPLE_SECONDS = 10.0
SAMPLES_MIN = 40
"""A short run looks more often."""
GROWTH_PERCENT_MAX = 2.0
KEYS, MIXED_KEYS = 100_000, 10_000
CONNECTIONS, IN_FLIGHT = 10, 4
BATCH, BATCHES_PER_CONNECTION = 50, 10
EXPIRY_MS_MAX = 2000
ANSWER_SECONDS_MAX = 30.0


def rows(runs: int, seconds: float) -> list[Comparison | Bound]:
    """One measurement, however many `runs` are asked for: the growth of the server that grew most."""
    chance = random.Random(1)
    with line_cluster() as port:
        places = places_of(port)
        ports = [int(place.partition(":")[0]) for place in places]
        run("fill", places, in_flight=64, keys=KEYS)
        samples: list[list[int]] = []
        load = {"connections": CONNECTIONS, "in_flight": IN_FLIGHT, "keys": KEYS}
        limit = seconds + 2 * ANSWER_SECONDS_MAX
        with (
            running("set", places, seconds_max=limit, **load) as setting,
            running("get", places, seconds_max=limit, **load) as getting,
        ):
            began = time.monotonic()
            every = min(SAMPLE_SECONDS, seconds / SAMPLES_MIN)
            while (moment := time.monotonic()) < began + seconds:
                samples.append([resident(each) for each in ports])
                while time.monotonic() < moment + every:
                    mix(chance.choice(ports), chance)
            errors = setting.figures().errors + getting.figures().errors
    if errors:
        raise LoadError(f"{errors} requests were answered by errors")
    by_server = list(zip(*samples, strict=True))
    grown = [100 * (growth(each) - 1) for each in by_server]
    return [
        Bound(f"growth of memory in {seconds:,.0f} s of load", "%", grown, GROWTH_PERCENT_MAX),
        Bound("resident memory of a server then", "MB", [each[-1] / 1e6 for each in by_server], None),
    ]


def growth(samples: Sequence[int]) -> float:
    """The median of the last quarter to that of the second one. Raises LoadError when there are too few samples."""
    quarter = len(samples) // 4
    if not quarter:
        raise LoadError(f"{len(samples)} samples of the memory are too few: take more time")
    return statistics.median(samples[-quarter:]) / statistics.median(samples[quarter : 2 * quarter])


def mix(port: int, chance: random.Random) -> None:
    """A client connects, gives some batches of commands, and goes. Raises LoadError for an answer that is an error."""
    decoder = AnswerDecoder()
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS_MAX) as connection:
        for _ in range(BATCHES_PER_CONNECTION):
            connection.sendall(b"".join([bulks(command(chance)) for _ in range(BATCH)]))
            answered = 0
            while answered < BATCH:
                data = connection.recv(65536)
                if not data:
                    raise LoadError(f"the server at port {port} has closed the connection of a client")
                for answer in decoder.feed(data):
                    if isinstance(answer, ErrorAnswer):
                        raise LoadError(f"a command was answered by {answer.text!r}")
                    answered += 1


def command(chance: random.Random) -> list[bytes]:
    """One of the mix: a quarter each sets, sets for a while, reads, and deletes."""
    key = b"mix:%012d" % chance.randrange(MIXED_KEYS)
    value = b"v" * chance.randint(1, 200)
    return chance.choice(
        [
            [b"SET", key, value],
            [b"SET", key, value, b"PX", b"%d" % chance.randint(1, EXPIRY_MS_MAX)],
            [b"GET", key],
            [b"DEL", key],
        ]
    )
