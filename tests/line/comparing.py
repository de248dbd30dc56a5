"""The same bytes to a line port and to a real Redis, and the replies beside each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from random import Random

import attrs

from tests.commands import comparing as data
from tests.commands.comparing import Difference
from tests.line.speaking import pieces, written
from tests.line.streams import BROKEN, KEYS, STATE, Stream
from tests.support.redis_server import RedisConnection
from twistedkv.resp.answers import split

_GREETING_OURS = re.compile(rb"\$2\r\nid\r\n:\d+\r\n\$4\r\nmode\r\n\$7\r\ncluster\r\n")
_GREETING_THEIRS = re.compile(rb"\$2\r\nid\r\n:\d+\r\n\$4\r\nmode\r\n\$10\r\nstandalone\r\n")
_TIME = re.compile(rb"\*2\r\n\$10\r\n\d{10}\r\n\$[1-6]\r\n\d{1,6}\r\n")
_OTHER = (b"", b" ")
_SHAPES = {
    b"CLIENT": (b"ID", b"INFO", b"LIST", b"HELP"),
    b"COMMAND": (b"COUNT", b"INFO", b"LIST", b"HELP"),
    b"CONFIG": (b"GET", b"HELP"),
    b"DEBUG": (b"HELP",),
    b"INFO": _OTHER,
    b"LATENCY": (b"DOCTOR", b"HELP"),
    b"LOLWUT": _OTHER,
    b"MEMORY": (b"DOCTOR", b"STATS", b"HELP"),
    b"OBJECT": (b"HELP",),
    b"SCAN": _OTHER,
    b"SLOWLOG": (b"GET", b"LEN", b"HELP"),
    b"WAIT": _OTHER,
}
"""Commands, or subcommands of them, whose replies only have to be of the same kind."""


def parts_of(reply: bytes) -> list[bytes]:
    """The replies in a list."""
    head, _, body = reply.partition(b"\r\n")
    ends = split(body, int(head[1:]))
    return [body[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def equal(argv: list[bytes], ours: bytes, theirs: bytes) -> bool:
    """Whether two replies to a request are the same, as far as they can be."""
    if ours == theirs:
        return True
    name = argv[0].upper()
    word = argv[1].upper() if len(argv) > 1 else b""
    if b"-" in (ours[:1], theirs[:1]):
        return data.equal(argv, ours, theirs)
    if name == b"HELLO":
        return _GREETING_OURS.sub(b"", ours, 1) == _GREETING_THEIRS.sub(b"", theirs, 1)
    if name == b"TIME":
        return _TIME.fullmatch(ours) is not None and _TIME.fullmatch(theirs) is not None
    shapes = _SHAPES.get(name)
    if shapes is not None and (shapes is _OTHER or word in shapes):
        return ours[:1] == theirs[:1]
    return data.equal(argv, ours, theirs)


@attrs.define
class Pair:
    """One client, twice: connected to a server of ours, and to Redis."""

    ours: RedisConnection
    theirs: RedisConnection
    stream: Stream
    queued: list[list[bytes]] = attrs.Factory(list)
    """What Redis has queued."""
    compared: int = 0
    errors: int = 0
    """Of those compared, the ones whose reply was an error."""
    tolerated: int = 0
    """Of those compared, the ones whose replies are not the same bytes."""
    asked: list[list[bytes]] = attrs.Factory(list)
    """So far."""

    def close(self) -> None:
        """End both connections."""
        self.ours.close()
        self.theirs.close()

    def exchange(
        self, requests: list[list[bytes]], tail: bytes = b"", meanwhile: Callable[[], None] | None = None
    ) -> Difference | None:
        """Compare the replies to requests that are sent as one stream of bytes, with a `tail` that is no request.

        `meanwhile` is called when about a half has been sent.
        """
        random = self.stream.random
        sent = pieces(random, b"".join(written(random, argv) for argv in requests))
        if meanwhile is not None and len(sent) == 1:
            half = len(sent[0]) // 2
            sent = [sent[0][:half], sent[0][half:]]
        sent[-1] += tail
        for number, piece in enumerate(sent):
            if meanwhile is not None and number == (len(sent) + 1) // 2:
                meanwhile()
            self.theirs.send(piece)
            self.ours.send(piece)
        found = [self._compare(argv, self.ours.reply(), self.theirs.reply()) for argv in requests]
        return next((difference for difference in found if difference is not None), None)

    def _compare(self, argv: list[bytes], ours: bytes, theirs: bytes) -> Difference | None:
        before = self.asked[-60:]
        self.asked.append(argv)
        self.compared += 1
        self.errors += theirs[:1] == b"-"
        self.tolerated += ours != theirs
        name = argv[0].upper()
        if theirs == b"+QUEUED\r\n":
            self.queued.append(argv)
        elif name == b"MULTI":
            if theirs == b"+OK\r\n":
                self.queued = []
        elif name == b"EXEC" and ours[:1] == theirs[:1] == b"*" and ours != theirs:
            left, right = parts_of(ours), parts_of(theirs)
            if len(left) == len(right) == len(self.queued) and all(map(equal, self.queued, left, right)):
                return None
            return Difference([*argv, *map(b" ".join, self.queued)], ours, theirs, before)
        return None if equal(argv, ours, theirs) else Difference(argv, ours, theirs, before)

    def ending(self, argv: list[bytes]) -> Difference | None:
        """Both sides have to say one more thing, if any, and close."""
        ours, theirs = self.ours.ended(), self.theirs.ended()
        self.compared += 1
        self.errors += 1
        return None if ours == theirs else Difference(argv, ours, theirs, self.asked[-60:])

    def scan(self) -> Difference | None:
        """All keys, page by page, compared as sets."""
        random = self.stream.random
        options = random.choice(([], [b"COUNT", b"%d" % random.randrange(1, 30)], [b"MATCH", b"*a*"], [b"TYPE", b"x"]))
        found = []
        for side in (self.ours, self.theirs):
            keys, cursor = [], b"0"
            while True:
                (reply,) = side.run([[b"SCAN", cursor, *options]])
                head, page = parts_of(reply)
                cursor = head.split(b"\r\n")[1]
                keys += parts_of(page)
                if cursor == b"0":
                    break
            found.append(keys)
        ours, theirs = found
        self.compared += 1
        if len(ours) == len(set(ours)) and set(ours) == set(theirs):
            return None
        return Difference([b"SCAN", *options], b"".join(sorted(ours)), b"".join(sorted(set(theirs))), self.asked[-60:])


@attrs.define
class Round:
    """Some clients that talk in turns, to systems that are empty at the beginning.

    `ports` are the line ports that clients may choose among.
    """

    random: Random
    ports: list[int]
    redis_port: int
    pairs: list[Pair] = attrs.Factory(list)
    left: list[Pair] = attrs.Factory(list)
    """Those whose connections have ended."""
    within_segment: dict[int, Callable[[], None]] = attrs.Factory(dict)
    """What is done while they talk, by the number of the segment of which only a part has been sent then."""

    def run(self, segments: int, requests_max: int) -> Difference | None:
        """Let them talk; the first difference, if there is one. Ends all of them."""
        try:
            for difference in self._differences(segments, requests_max):
                if difference is not None:
                    return difference
            return None
        finally:
            for pair in self.pairs:
                pair.close()

    @property
    def compared(self) -> int:
        """Replies."""
        return sum(pair.compared for pair in (*self.left, *self.pairs))

    @property
    def errors(self) -> int:
        """Replies that were errors on both sides."""
        return sum(pair.errors for pair in (*self.left, *self.pairs))

    @property
    def tolerated(self) -> int:
        """Replies that are of the same kind only, or have another order, time or measure."""
        return sum(pair.tolerated for pair in (*self.left, *self.pairs))

    def _connect(self) -> Pair:
        ours = RedisConnection(self.random.choice(self.ports))
        pair = Pair(ours, RedisConnection(self.redis_port), Stream(self.random))
        self.pairs.append(pair)
        return pair

    def _differences(self, segments: int, requests_max: int) -> Iterator[Difference | None]:
        random = self.random
        yield self._connect().exchange([[b"FLUSHALL"], [b"HELLO", random.choice((b"2", b"3"))]])
        for _ in range(random.randrange(3)):
            yield self._connect().exchange([[b"HELLO", random.choice((b"2", b"3"))]])
        for number in range(segments):
            pair = random.choice(self.pairs)
            chance = random.randrange(100)
            meanwhile = self.within_segment.get(number)
            if meanwhile is not None:
                yield pair.exchange(self._drawn(pair, requests_max), meanwhile=meanwhile)
            elif chance < 3:
                yield from self._end(pair)
            elif chance < 6 and not pair.stream.in_transaction:
                yield pair.scan()
            elif chance < 20 and not pair.stream.in_transaction:
                yield from self._watched(pair)
            else:
                yield pair.exchange(self._drawn(pair, random.randrange(1, requests_max)))
        for pair in self.pairs:
            if pair.stream.in_transaction:
                yield pair.exchange([[b"DISCARD"]])
        yield self.pairs[0].exchange([*STATE, [b"EXISTS", *KEYS], [b"DBSIZE"], [b"KEYS", b"*"]])
        yield self.pairs[0].scan()

    def _drawn(self, pair: Pair, count: int) -> list[list[bytes]]:
        requests: list[list[bytes]] = []
        while len(requests) < count:
            requests += pair.stream.requests()
        return requests

    def _watched(self, pair: Pair) -> Iterator[Difference | None]:
        """A transaction during which somebody else may change what it watches."""
        watching, rest = pair.stream.watch_and_begin()
        yield pair.exchange(watching)
        other = self.random.choice(self.pairs)
        if other is not pair and not other.stream.in_transaction:
            yield other.exchange(other.stream._tagged([[b"APPEND", self.random.choice(KEYS[:10]), b"x"]]))
        yield pair.exchange(rest)

    def _end(self, pair: Pair) -> Iterator[Difference | None]:
        """The client says goodbye, or something that is no request; another one comes in its place."""
        requests = self._drawn(pair, self.random.randrange(1, 10))
        if self.random.randrange(3) == 0:
            tail = b"PING\r\nSET a after\r\n"
            yield pair.exchange([*requests, *pair.stream.quit()], tail)
        else:
            tail = self.random.choice(BROKEN)
            yield pair.exchange(requests, tail)
        yield pair.ending([tail])
        pair.close()
        self.pairs.remove(pair)
        self.left.append(pair)
        self._connect()
