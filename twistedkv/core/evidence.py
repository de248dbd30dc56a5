"""What a slot holds on each copy, and what it should hold where the copies differ.

All copies are looked at in the same place of the log, so they should be equal. Where they are not, a disk has not kept
what it was given. What a copy says of a key is its version and a checksum; a record whose own checksum is wrong is no
evidence at all. The newest version wins, since nothing makes a version but an update; of one version that which most
copies have; and when that is even, what the primary has. A record wins over none unless more copies have none: a disk
loses rather than invents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from struct import Struct
from zlib import crc32

from twistedkv.columns import decode_column, encode_column
from twistedkv.errors import ProtocolError
from twistedkv.limits import FRAME_BYTES_MAX, KEY_BYTES_MAX

DIGEST_BYTES = 16
Evidence = tuple[int, int]
"""Version of a record, and CRC-32 of all of it."""
Listing = dict[bytes, Evidence | None]
"""By key; None: damaged."""

_NOTHING: Evidence = (0, 0)
"""What a copy says that does not have the key."""
_EVIDENCE = Struct(">BQI")
_KEYS_MAX = FRAME_BYTES_MAX // _EVIDENCE.size


def listing_of(items: Sequence[tuple[bytes, bytes]], damaged: Sequence[bytes]) -> Listing:
    """Of the keys and records of a slot, and its keys whose records are damaged."""
    listing: Listing = {key: (int.from_bytes(record[:8], "big"), crc32(record)) for key, record in items}
    listing.update(dict.fromkeys(damaged))
    return listing


def digest_of(listing: Listing) -> bytes:
    """Equal for equal listings. 16 bytes."""
    return blake2b(encode_listing(listing), digest_size=DIGEST_BYTES).digest()


def encode_listing(listing: Listing) -> bytes:
    """Two columns: keys in order, and for each a byte that says whether there is evidence, version and checksum."""
    keys = sorted(listing)
    evidence = [_EVIDENCE.pack(known is not None, *(known or _NOTHING)) for known in map(listing.__getitem__, keys)]
    return encode_column(keys) + encode_column(evidence)


def decode_listing(packed: bytes) -> Listing:
    """The same again. Raises ProtocolError."""
    keys, middle = decode_column(packed, 0, 1, KEY_BYTES_MAX, _KEYS_MAX)
    evidence, end = decode_column(packed, middle, _EVIDENCE.size, _EVIDENCE.size, _KEYS_MAX)
    if end != len(packed) or len(keys) != len(evidence):
        raise ProtocolError(f"{len(keys)} keys, {len(evidence)} records and {len(packed) - end} bytes in a listing")
    listing: Listing = {}
    for key, each in zip(keys, evidence, strict=True):
        there, version, checksum = _EVIDENCE.unpack(each)
        listing[key] = (version, checksum) if there else None
    return listing


def judge(own: Listing, others: Mapping[int, Listing]) -> dict[bytes, int | None]:
    """For each key on which the copies differ, or of which one is damaged: which of them has what should be there.

    That may be nothing. 0: the primary, whose listing is `own`; else the key in `others`; None: nobody.
    """
    verdict: dict[bytes, int | None] = {}
    listings = {0: own, **others}
    for key in sorted(set().union(*listings.values())):
        said = {who: listing.get(key, _NOTHING) for who, listing in listings.items()}
        if len(set(said.values())) == 1 and None not in said.values():
            continue
        verdict[key] = _winner({who: word for who, word in said.items() if word is not None})
    return verdict


def _winner(said: Mapping[int, Evidence]) -> int | None:
    if not said:
        return None
    count = Counter(said.values())
    there = [word for word in count if word != _NOTHING]
    if there and count[_NOTHING] <= sum(count[word] for word in there):
        newest = max(version for version, _ in there)
        candidates = [word for word in there if word[0] == newest]
    else:
        candidates = list(count)
    most = max(count[word] for word in candidates)
    return next(who for who, word in sorted(said.items()) if word in candidates and count[word] == most)
