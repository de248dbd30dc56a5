"""What a turn of a server ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from twistedkv.core.mailbox import Mailbox
from twistedkv.core.progress import Cover, PeerLink
from twistedkv.limits import REPLICATE_BYTES_TARGET
from twistedkv.messages.peer import BeginFill, Configure, Replicate, Section, SlotQuery

if TYPE_CHECKING:
    from twistedkv.core.replica import Replica

PeerMessage = Configure | BeginFill | Replicate | SlotQuery


@attrs.define
class Turn:
    """What the rim has to write at the end of a turn."""

    mailboxes: list[Mailbox]
    """Clients with answers; the rim empties each mailbox."""
    frames: list[tuple[PeerLink, list[PeerMessage]]]
    """For each peer its messages, in this order."""
    to_coordinator: list[tuple[object, int]]
    """(message, request id that it answers or 0); a str is the reason why a request failed."""


def frames_of(dirty: list[Replica], now: float) -> list[tuple[PeerLink, list[PeerMessage]]]:
    """What these shards have to say to each peer: in one REPLICATE over all of them, or in several."""
    heads: dict[PeerLink, list[PeerMessage]] = {}
    batches: dict[PeerLink, list[tuple[list[Section], list[Cover], int]]] = {}
    for replica in dirty:
        for follower in replica.leading.followers.values():
            link = follower.link
            if not link.connected or follower.stalled:
                continue
            configuration, begin, sections = replica.leading.outgoing(follower)
            if link not in heads:
                heads[link], batches[link] = [], []
            head, peer_batches = heads[link], batches[link]
            if configuration is not None:
                head.append(Configure(configuration))
            if begin is not None:
                head.append(begin)
            for section in sections:
                if not peer_batches or peer_batches[-1][2] > REPLICATE_BYTES_TARGET:
                    peer_batches.append(([], [], 0))
                chosen, covers, size = peer_batches[-1]
                if size and size + len(section.entries) > 2 * REPLICATE_BYTES_TARGET:
                    peer_batches.append(([], [], 0))
                    chosen, covers, size = peer_batches[-1]
                chosen.append(section)
                covers.append((replica, follower, section.first + section.count - 1, follower.fill))
                peer_batches[-1] = (chosen, covers, size + len(section.entries) + 30)
    frames: list[tuple[PeerLink, list[PeerMessage]]] = []
    for link, head in heads.items():
        head += [link.frame(sections, covers, size, now) for sections, covers, size in batches[link]]
        frames.append((link, head))
    return frames
