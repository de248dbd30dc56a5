"""The peer family: replication and streaming."""

from struct import Struct, error

from twistedkv.errors import ProtocolError
from twistedkv.limits import FRAME_BYTES_MAX, KEY_BYTES_MAX, SHARDS_MAX
from twistedkv.messages.peer import (
    Ack,
    BeginFill,
    Configure,
    FillAck,
    FillChunk,
    FillEnd,
    FillKind,
    FillSessions,
    Refusal,
    RefusedSection,
    Replicate,
    Section,
    SlotQuery,
    SlotState,
    SlotView,
)
from twistedkv.watermarks import Level
from twistedkv.wire.fields import U16, U32, U64, Bytes, Enumerated, Family, Flag, Layout, Many, Rest
from twistedkv.wire.shared import CONFIGURATION

CONFIGURE = 0x80
REPLICATE = 0x81
ACK = 0x82
BEGIN_FILL = 0x83
FILL_CHUNK = 0x84
FILL_SESSIONS = 0x85
FILL_END = 0x86
FILL_ACK = 0x87
SLOT_QUERY = 0x88
SLOT_STATE = 0x89

_FILL = (("shard", U16), ("fill", U32), ("number", U32))

_SLOT = (("shard", U16), ("epoch", U32), ("slot", U16), ("view", Enumerated(SlotView)))

FAMILY = Family(
    "peer",
    (CONFIGURE, Layout(Configure, ("configuration", CONFIGURATION))),
    (
        REPLICATE,
        Layout(
            Replicate,
            ("number", U64),
            (
                "sections",
                Many(
                    U16,
                    Layout(
                        Section,
                        ("shard", U16),
                        ("epoch", U32),
                        ("commit", U64),
                        ("first", U64),
                        ("count", U32),
                        ("entries", Bytes(U32, FRAME_BYTES_MAX)),
                    ),
                    SHARDS_MAX,
                ),
            ),
        ),
    ),
    (
        ACK,
        Layout(
            Ack,
            ("number", U64),
            ("heard", U64),
            (
                "refused",
                Many(
                    U16,
                    Layout(
                        RefusedSection, ("shard", U16), ("refusal", Enumerated(Refusal)), ("epoch", U32), ("last", U64)
                    ),
                    SHARDS_MAX,
                ),
            ),
            ("level", Enumerated(Level)),
        ),
    ),
    (
        BEGIN_FILL,
        Layout(
            BeginFill,
            ("shard", U16),
            ("epoch", U32),
            ("how", Enumerated(FillKind)),
            ("fill", U32),
            ("start", U64),
        ),
    ),
    (FILL_CHUNK, Layout(FillChunk, *_FILL, ("count", U32), ("records", Rest()))),
    (FILL_SESSIONS, Layout(FillSessions, *_FILL, ("sessions", Rest()))),
    (FILL_END, Layout(FillEnd, *_FILL)),
    (FILL_ACK, Layout(FillAck, *_FILL, ("refused", Flag()))),
    (SLOT_QUERY, Layout(SlotQuery, *_SLOT, ("key", Bytes(U16, KEY_BYTES_MAX)))),
    (SLOT_STATE, Layout(SlotState, *_SLOT, ("body", Rest()))),
)

_SHORT_ACK = Struct(">QQHB")
"""Without anything that was refused."""
_LEVELS = tuple(Level)
_REPLICATE_HEAD = Struct(">QH")
_SECTION_HEAD = Struct(">HIQQII")


def encode_ack(number: int, heard: int, refused: list[RefusedSection], level: Level = Level.OK) -> bytes:
    """The body of an ACK."""
    if refused:
        return FAMILY.layouts[ACK].encode(Ack(number, heard, refused, level))
    return _SHORT_ACK.pack(number, heard, 0, level)


def decode_ack(body: bytes) -> Ack:
    """The ACK whose body this is. Raises ProtocolError when bytes are missing or left over."""
    if len(body) == _SHORT_ACK.size:
        number, heard, refused, level = _SHORT_ACK.unpack(body)
        if not refused and level < len(_LEVELS):
            return Ack(number, heard, [], _LEVELS[level])
    ack: Ack = FAMILY.layouts[ACK].decode(body)
    return ack


def encode_replicate(message: Replicate) -> bytes:
    """The body of a REPLICATE."""
    parts = [_REPLICATE_HEAD.pack(message.number, len(message.sections))]
    for section in message.sections:
        entries = section.entries
        parts.append(
            _SECTION_HEAD.pack(section.shard, section.epoch, section.commit, section.first, section.count, len(entries))
        )
        parts.append(entries)
    return b"".join(parts)


def decode_replicate(body: bytes) -> Replicate:
    """The REPLICATE whose body this is. Raises ProtocolError when bytes are missing or left over."""
    try:
        number, count = _REPLICATE_HEAD.unpack_from(body)
        if count > SHARDS_MAX:
            raise ProtocolError(f"Replicate: at most {SHARDS_MAX} sections are allowed, {count} were announced")
        offset = _REPLICATE_HEAD.size
        sections = []
        for _ in range(count):
            shard, epoch, commit, first, entries, length = _SECTION_HEAD.unpack_from(body, offset)
            offset += _SECTION_HEAD.size
            end = offset + length
            sections.append(Section(shard, epoch, commit, first, entries, body[offset:end]))
            offset = end
    except error as wrong:
        raise ProtocolError("Replicate: the body is too short") from wrong
    if offset != len(body):
        raise ProtocolError(f"Replicate: the body has {len(body)} bytes, its sections need {offset}")
    return Replicate(number, sections)
