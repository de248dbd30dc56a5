"""One message of each type, and its frame in hex as written out by hand from docs/protocol.md.

The same hex stands in docs/protocol.md (`tests/test_protocol_doc.py` compares them). Spaces part the fields.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import attrs

from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.core.entries import ONE, encode_entry
from twistedkv.messages.client import (
    BackupBegin,
    BackupBegun,
    BackupEnd,
    BackupEntries,
    BackupLog,
    BackupPage,
    BackupRecords,
    Cas,
    Delete,
    Execute,
    ExecuteMode,
    Get,
    GetMany,
    Incr,
    MapRequest,
    MapUpdate,
    Noop,
    Put,
    PutMany,
    Result,
    Scan,
    ScanItem,
    ScanPage,
    Verify,
    Watched,
)
from twistedkv.messages.coordinator import (
    AdminReply,
    AdminRequest,
    DumpPrimary,
    DumpSecondary,
    FillReport,
    Heartbeat,
    Leaving,
    Noticed,
    Relinquished,
    Remove,
    ReplicaRole,
    Seal,
    Sealed,
    ShardReport,
    Shutdown,
    Started,
    StartedReply,
    SwitchPrimary,
    UpdatedPrimary,
    UpdatedSecondary,
    UpdatePrimary,
    UpdatePrimaryFailed,
    UpdateSecondary,
    UpdateSecondaryFailed,
    Usage,
)
from twistedkv.messages.hello import Hello, HelloReply, Role
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
from twistedkv.records import make_record
from twistedkv.watermarks import Level
from twistedkv.wire import client, coordinator, peer
from twistedkv.wire.fields import Layout
from twistedkv.wire.shared import HELLO, HELLO_REPLY, HELLO_REPLY_TYPE, HELLO_TYPE

STORE_A = bytes.fromhex("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf")
STORE_B = bytes.fromhex("b0b1b2b3b4b5b6b7b8b9babbbcbdbebf")
STORE_C = bytes.fromhex("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf")

CONFIGURATION = Configuration(
    shard=3,
    first_slot=4096,
    last_slot=5460,
    epoch=7,
    birth=1,
    primary=Member(2, STORE_B),
    secondaries=(Member(1, STORE_A),),
    learners=(Member(3, STORE_C),),
    released=True,
    lost=False,
    preferred=(2, 3),
)

LOG_ENTRY = encode_entry(5061, b"bar", make_record(0x1C0000000029, 0, b"v"), ONE, 5, 5, STORE_C, b"")
RECORDS = bytes.fromhex("00000001 00000003 626172 00000001 0000000a 00001c0000000028 00 76")
SESSIONS = bytes.fromhex(
    "0000000000000000 c0c1c2c3c4c5c6c7c8c9cacbcccdcecf 0000000000000005 0000000000000029 00000001 "
    "0000000000000005 00001c0000000029 00000000"
)
"""What the peer messages carry and `twistedkv.core` makes: `tests/test_protocol_doc.py` has it taken apart there."""

REPORT = ShardReport(shard=3, epoch=7, role=ReplicaRole.SECONDARY, last=0x1C0000000028, commit=40, bytes_stored=250000)

LAYOUTS: dict[tuple[str, int], Layout[Any]] = {
    ("opening", HELLO_TYPE): HELLO,
    ("opening", HELLO_REPLY_TYPE): HELLO_REPLY,
}
"""Every layout of a message, by family and type number."""
for _family in (client.FAMILY, peer.FAMILY, coordinator.FAMILY):
    LAYOUTS.update(((_family.name, number), layout) for number, layout in _family.layouts.items())


@attrs.frozen
class Example:
    """A message, and the frame that carries it."""

    family: str
    name: str
    """As docs/protocol.md and the constants of `twistedkv.wire` have it."""
    message: Any
    hex: str
    request_id: int = 0
    flags: int = 0

    @property
    def frame(self) -> bytes:
        """The whole frame."""
        return bytes.fromhex(self.hex)

    @property
    def type_number(self) -> int:
        """The message type: third byte of the frame."""
        return self.frame[2]

    @property
    def layout(self) -> Layout[Any]:
        """How the body is laid out."""
        return LAYOUTS[self.family, self.type_number]


EXAMPLES = [
    Example(
        "opening",
        "HELLO",
        Hello(version_min=1, version_max=1, role=Role.CLIENT, cluster="demo", server_id=0, identity=STORE_C),
        "54 01 01 00 00000000 0000001a  01 01 01 04 64656d6f 0000 c0c1c2c3c4c5c6c7c8c9cacbcccdcecf",
    ),
    Example(
        "opening",
        "HELLO_REPLY",
        HelloReply(status=0, version=1, cluster="demo", server_id=2, identity=STORE_B, text=""),
        "54 01 02 00 00000000 0000001b  00 01 04 64656d6f 0002 b0b1b2b3b4b5b6b7b8b9babbbcbdbebf 0000",
    ),
    Example(
        "client",
        "NOOP",
        Noop(),
        "54 01 10 00 00000001 00000000",
        request_id=1,
    ),
    Example(
        "client",
        "GET",
        Get(key=b"colour"),
        "54 01 11 00 00000002 00000006  636f6c6f7572",
        request_id=2,
    ),
    Example(
        "client",
        "PUT",
        Put(number=5, oldest=4, since=0x180000000009, key=b"colour", value=b"green"),
        "54 01 12 00 00000003 00000025  0000000000000005 0000000000000004 0000180000000009 0006 "
        "636f6c6f7572 677265656e",
        request_id=3,
    ),
    Example(
        "client",
        "DELETE",
        Delete(number=6, oldest=6, since=0, key=b"colour"),
        "54 01 13 01 00000004 0000001e  0000000000000006 0000000000000006 0000000000000000 636f6c6f7572",
        request_id=4,
        flags=1,
    ),
    Example(
        "client",
        "CAS",
        Cas(number=7, oldest=7, since=0x18000000000A, expected=0x18000000000A, key=b"colour", value=b"red"),
        "54 01 14 00 00000005 0000002b  0000000000000007 0000000000000007 000018000000000a "
        "000018000000000a 0006 636f6c6f7572 726564",
        request_id=5,
    ),
    Example(
        "client",
        "INCR",
        Incr(number=8, oldest=8, since=0, delta=-2, key=b"stock"),
        "54 01 15 00 00000006 00000025  0000000000000008 0000000000000008 0000000000000000 fffffffffffffffe 73746f636b",
        request_id=6,
    ),
    Example(
        "client",
        "VERIFY",
        Verify(key=b"colour"),
        "54 01 16 00 00000007 00000006  636f6c6f7572",
        request_id=7,
    ),
    Example(
        "client",
        "SCAN",
        Scan(slot=4096, after=b"a", count=100, prefix=b"user:", values=True),
        "54 01 17 00 00000008 00000011  1000 0001 61 00000064 0005 757365723a 01",
        request_id=8,
    ),
    Example(
        "client",
        "CONFIG_REQ",
        MapRequest(subscribe=True),
        "54 01 18 00 00000009 00000001  01",
        request_id=9,
    ),
    Example(
        "client",
        "EXECUTE",
        Execute(
            number=9,
            oldest=8,
            since=0x18000000000B,
            slot=3902,
            protocol=2,
            mode=ExecuteMode.TRANSACTION,
            watched=[Watched(key=b"stock", version=0x18000000000A)],
            commands=[[b"INCR", b"stock"], [b"GET", b"stock"]],
        ),
        "54 01 19 00 0000000a 00000058  0000000000000009 0000000000000008 000018000000000b 0f3e 02 01 "
        "0001 0005 73746f636b 000018000000000a 0002 00000002 00000004 494e4352 00000005 73746f636b "
        "00000002 00000003 474554 00000005 73746f636b",
        request_id=10,
    ),
    Example(
        "client",
        "PUT_MANY",
        PutMany(
            number=10,
            oldest=10,
            since=0x18000000000B,
            slot=8492,
            keys=[b"{paint}red", b"{paint}blue"],
            values=[b"5", b"7"],
        ),
        "54 01 1a 00 0000000b 00000049  000000000000000a 000000000000000a 000018000000000b 212c "
        "00000002 ffffffff 0000000a 0000000b 7b7061696e747d726564 7b7061696e747d626c7565 "
        "00000002 00000001 35 37",
        request_id=11,
    ),
    Example(
        "client",
        "GET_MANY",
        GetMany(slot=8492, keys=[b"{paint}red", b"{paint}tan"]),
        "54 01 1b 00 0000000c 0000001e  212c 00000002 0000000a 7b7061696e747d726564 7b7061696e747d74616e",
        request_id=12,
    ),
    Example(
        "client",
        "BACKUP_BEGIN",
        BackupBegin(slot=5061),
        "54 01 1c 00 0000000d 00000002  13c5",
        request_id=13,
    ),
    Example(
        "client",
        "BACKUP_RECORDS",
        BackupRecords(slot=5061, after=b"a", pin=0x700000001, prefix=b""),
        "54 01 1d 00 0000000e 0000000f  13c5 0001 61 0000000700000001 0000",
        request_id=14,
    ),
    Example(
        "client",
        "BACKUP_LOG",
        BackupLog(slot=5061, pin=0x700000001, after=40),
        "54 01 1e 00 0000000f 00000012  13c5 0000000700000001 0000000000000028",
        request_id=15,
    ),
    Example(
        "client",
        "BACKUP_END",
        BackupEnd(slot=5061, pin=0x700000001),
        "54 01 1f 00 00000010 0000000a  13c5 0000000700000001",
        request_id=16,
    ),
    Example(
        "client",
        "RESULT",
        Result(status=0, version=0x18000000000A, value=b"green"),
        "54 01 20 00 00000002 0000000e  00 000018000000000a 677265656e",
        request_id=2,
    ),
    Example(
        "client",
        "SCAN_PAGE",
        ScanPage(
            next_slot=4100,
            next_after=b"",
            items=[ScanItem(key=b"user:7", version=0x18000000000B, value=b"Ann")],
        ),
        "54 01 21 00 00000008 0000001f  1004 0000 00000001 0006 757365723a37 000018000000000b 00000003 416e6e",
        request_id=8,
    ),
    Example(
        "client",
        "CONFIG_RESP",
        MapUpdate(
            map=ClusterMap(
                cluster="demo",
                version=12,
                copies=2,
                min_copies=1,
                heartbeat_ms=200,
                servers=MappingProxyType(
                    {1: Server(1, STORE_A, "127.0.0.1", 40001, ServerState.ACTIVE, 4711, 7379, 0)}
                ),
                shards=(
                    Configuration(
                        shard=0,
                        first_slot=0,
                        last_slot=16383,
                        epoch=1,
                        birth=1,
                        primary=Member(1, STORE_A),
                        secondaries=(),
                        learners=(),
                        released=False,
                        lost=False,
                        preferred=(1,),
                    ),
                ),
            )
        ),
        "54 01 22 00 00000009 00000065  04 64656d6f 000000000000000c 02 01 000000c8 0001 0001 "
        "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf 09 3132372e302e302e31 9c41 01 00001267 1cd3 0000 0001 0000 0000 3fff "
        "00000001 00000001 0001 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf 00 00 00 00 01 0001",
        request_id=9,
    ),
    Example(
        "client",
        "BACKUP_BEGUN",
        BackupBegun(pin=0x700000001, last=0x1C0000000028, records=1),
        "54 01 23 00 0000000d 00000018  0000000700000001 00001c0000000028 0000000000000001",
        request_id=13,
    ),
    Example(
        "client",
        "BACKUP_PAGE",
        BackupPage(last=0x1C0000000028, next_slot=5461, next_after=b"", records=RECORDS),
        "54 01 24 00 0000000e 00000029  00001c0000000028 1555 0000 "
        "00000001 00000003 626172 00000001 0000000a 00001c0000000028 00 76",
        request_id=14,
    ),
    Example(
        "client",
        "BACKUP_ENTRIES",
        BackupEntries(first=41, count=1, entries=LOG_ENTRY),
        "54 01 25 00 0000000f 00000046  0000000000000029 00000001 13c5 0003 0000000a 00000000 00 0000000000000005 "
        "0000000000000005 c0c1c2c3c4c5c6c7c8c9cacbcccdcecf 626172 00001c0000000029 00 76",
        request_id=15,
    ),
    Example(
        "peer",
        "CONFIGURE",
        Configure(configuration=CONFIGURATION),
        "54 01 80 00 00000000 0000004d  0003 1000 1554 00000007 00000001 0002 "
        "b0b1b2b3b4b5b6b7b8b9babbbcbdbebf 01 0001 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf 01 0003 "
        "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf 01 00 02 0002 0003",
    ),
    Example(
        "peer",
        "REPLICATE",
        Replicate(
            number=17,
            sections=[
                Section(shard=3, epoch=7, commit=40, first=41, count=1, entries=LOG_ENTRY),
                Section(shard=4, epoch=2, commit=9, first=10, count=0, entries=b""),
            ],
        ),
        "54 01 81 00 00000000 00000080  0000000000000011 0002 "
        "0003 00000007 0000000000000028 0000000000000029 00000001 0000003a "
        "13c5 0003 0000000a 00000000 00 0000000000000005 0000000000000005 c0c1c2c3c4c5c6c7c8c9cacbcccdcecf "
        "626172 00001c0000000029 00 76 "
        "0004 00000002 0000000000000009 000000000000000a 00000000 00000000",
    ),
    Example(
        "peer",
        "ACK",
        Ack(
            number=17,
            heard=18,
            refused=[RefusedSection(shard=4, refusal=Refusal.OLD_EPOCH, epoch=3, last=9)],
            level=Level.LOW,
        ),
        "54 01 82 00 00000000 00000022  0000000000000011 0000000000000012 0001 0004 01 00000003 0000000000000009 01",
    ),
    Example(
        "peer",
        "BEGIN_FILL",
        BeginFill(shard=3, epoch=7, how=FillKind.OFFERED, fill=1, start=0x1C0000000028),
        "54 01 83 00 00000000 00000013  0003 00000007 01 00000001 00001c0000000028",
    ),
    Example(
        "peer",
        "FILL_CHUNK",
        FillChunk(shard=3, fill=1, number=1, count=1, records=RECORDS),
        "54 01 84 00 00000000 0000002b  0003 00000001 00000001 00000001 "
        "00000001 00000003 626172 00000001 0000000a 00001c0000000028 00 76",
    ),
    Example(
        "peer",
        "FILL_SESSIONS",
        FillSessions(shard=3, fill=1, number=2, sessions=SESSIONS),
        "54 01 85 00 00000000 0000004a  0003 00000001 00000002 "
        "0000000000000000 c0c1c2c3c4c5c6c7c8c9cacbcccdcecf 0000000000000005 0000000000000029 00000001 "
        "0000000000000005 00001c0000000029 00000000",
    ),
    Example(
        "peer",
        "FILL_END",
        FillEnd(shard=3, fill=1, number=3),
        "54 01 86 00 00000000 0000000a  0003 00000001 00000003",
    ),
    Example(
        "peer",
        "FILL_ACK",
        FillAck(shard=3, fill=1, number=3, refused=False),
        "54 01 87 00 00000000 0000000b  0003 00000001 00000003 00",
    ),
    Example(
        "peer",
        "SLOT_QUERY",
        SlotQuery(shard=3, epoch=7, slot=5061, view=SlotView.RECORD, key=b"bar"),
        "54 01 88 00 00000000 0000000e  0003 00000007 13c5 03 0003 626172",
    ),
    Example(
        "peer",
        "SLOT_STATE",
        SlotState(shard=3, epoch=7, slot=5061, view=SlotView.RECORD, body=bytes.fromhex("00001c0000000028 00 76")),
        "54 01 89 00 00000000 00000013  0003 00000007 13c5 03 00001c0000000028 00 76",
    ),
    Example(
        "coordinator",
        "STARTED",
        Started(
            server_id=0,
            store_id=STORE_A,
            host="127.0.0.1",
            port=40001,
            line_port=7379,
            course_port=0,
            pid=4711,
            standby=False,
            engine="memory",
            reports=[REPORT],
            usage=Usage(memory_limit=2**20, room=838860, spare=996147),
        ),
        "54 01 40 00 00000001 00000081  0000 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf 09 3132372e302e302e31 "
        "9c41 1cd3 0000 00001267 00 06 6d656d6f7279 0001 0003 00000007 02 00001c0000000028 0000000000000028 "
        "000000000003d090 0000000000000000 0000000000100000 0000000000000000 0000000000000000 00000000000ccccc "
        "00000000000f3333 00 00",
        request_id=1,
    ),
    Example(
        "coordinator",
        "STARTED_REPLY",
        StartedReply(status=0, server_id=1, heartbeat_ms=200, text=""),
        "54 01 41 00 00000001 00000009  00 0001 000000c8 0000",
        request_id=1,
    ),
    Example(
        "coordinator",
        "HEARTBEAT",
        Heartbeat(
            server_id=1,
            store_id=STORE_A,
            beat=99,
            map_version=12,
            keys=1000,
            bytes_stored=125000,
            reports=[REPORT],
            fills=[FillReport(shard=3, learner=Member(3, STORE_C), records=500, records_total=1000, bytes_sent=62500)],
            usage=Usage(memory=250000, memory_limit=2**20, room=-1000, spare=7, level=Level.LOW, evicts=True),
        ),
        "54 01 42 00 00000000 000000b3  0001 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf 0000000000000063 "
        "000000000000000c 00000000000003e8 000000000001e848 0001 0003 00000007 02 00001c0000000028 "
        "0000000000000028 000000000003d090 0001 0003 0003 c0c1c2c3c4c5c6c7c8c9cacbcccdcecf 00000000000001f4 "
        "00000000000003e8 000000000000f424 000000000003d090 0000000000100000 0000000000000000 0000000000000000 "
        "fffffffffffffc18 0000000000000007 01 01",
    ),
    Example(
        "coordinator",
        "UPDATED_PRIMARY",
        UpdatedPrimary(shard=3, epoch=7, learner=Member(3, STORE_C)),
        "54 01 43 00 00000000 00000018  0003 00000007 0003 c0c1c2c3c4c5c6c7c8c9cacbcccdcecf",
    ),
    Example(
        "coordinator",
        "UPDATE_PRIMARY_FAILED",
        UpdatePrimaryFailed(shard=3, epoch=7, learner=Member(3, STORE_C), reason="no route"),
        "54 01 44 00 00000000 00000022  0003 00000007 0003 c0c1c2c3c4c5c6c7c8c9cacbcccdcecf 0008 6e6f20726f757465",
    ),
    Example(
        "coordinator",
        "UPDATED_SECONDARY",
        UpdatedSecondary(shard=3, epoch=7, learner=Member(3, STORE_C)),
        "54 01 45 00 00000000 00000018  0003 00000007 0003 c0c1c2c3c4c5c6c7c8c9cacbcccdcecf",
    ),
    Example(
        "coordinator",
        "UPDATE_SECONDARY_FAILED",
        UpdateSecondaryFailed(shard=3, epoch=7, learner=Member(3, STORE_C), reason="no route"),
        "54 01 46 00 00000000 00000022  0003 00000007 0003 c0c1c2c3c4c5c6c7c8c9cacbcccdcecf 0008 6e6f20726f757465",
    ),
    Example(
        "coordinator",
        "REMOVE",
        Remove(shard=3, epoch=7, member=Member(1, STORE_A), reason="silent"),
        "54 01 47 00 00000000 00000020  0003 00000007 0001 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf 0006 73696c656e74",
    ),
    Example(
        "coordinator",
        "LEAVING",
        Leaving(server_id=1),
        "54 01 48 00 00000002 00000002  0001",
        request_id=2,
    ),
    Example(
        "coordinator",
        "SEALED",
        Sealed(shard=3, epoch=8, last=0x1C0000000028, holds=True),
        "54 01 49 00 00000003 0000000f  0003 00000008 00001c0000000028 01",
        request_id=3,
    ),
    Example(
        "coordinator",
        "RELINQUISHED",
        Relinquished(shard=3, epoch=8, last=0x1C0000000028),
        "54 01 4a 00 00000004 0000000e  0003 00000008 00001c0000000028",
        request_id=4,
    ),
    Example(
        "coordinator",
        "NOTICED",
        Noticed(shard=3, text="mended"),
        "54 01 4b 00 00000000 0000000a  0003 0006 6d656e646564",
    ),
    Example(
        "coordinator",
        "SEAL",
        Seal(shard=3, epoch=8),
        "54 01 50 00 00000003 00000006  0003 00000008",
        request_id=3,
    ),
    Example(
        "coordinator",
        "UPDATE_PRIMARY",
        UpdatePrimary(configuration=CONFIGURATION),
        "54 01 51 00 00000000 0000004d  0003 1000 1554 00000007 00000001 0002 "
        "b0b1b2b3b4b5b6b7b8b9babbbcbdbebf 01 0001 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf 01 0003 "
        "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf 01 00 02 0002 0003",
    ),
    Example(
        "coordinator",
        "UPDATE_SECONDARY",
        UpdateSecondary(configuration=CONFIGURATION),
        "54 01 52 00 00000000 0000004d  0003 1000 1554 00000007 00000001 0002 "
        "b0b1b2b3b4b5b6b7b8b9babbbcbdbebf 01 0001 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf 01 0003 "
        "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf 01 00 02 0002 0003",
    ),
    Example(
        "coordinator",
        "SWITCH_PRIMARY",
        SwitchPrimary(shard=3, epoch=8, target=3),
        "54 01 53 00 00000004 00000008  0003 00000008 0003",
        request_id=4,
    ),
    Example(
        "coordinator",
        "SHUTDOWN",
        Shutdown(),
        "54 01 54 00 00000000 00000000",
    ),
    Example(
        "coordinator",
        "DUMP_PRIMARY",
        DumpPrimary(),
        "54 01 55 00 00000005 00000000",
        request_id=5,
    ),
    Example(
        "coordinator",
        "DUMP_SECONDARY",
        DumpSecondary(),
        "54 01 56 00 00000006 00000000",
        request_id=6,
    ),
    Example(
        "coordinator",
        "ADMIN",
        AdminRequest(json=b'{"command": "status"}'),
        "54 01 60 00 00000007 00000019  00000015 7b22636f6d6d616e64223a2022737461747573227d",
        request_id=7,
    ),
    Example(
        "coordinator",
        "ADMIN_REPLY",
        AdminReply(status=0, json=b"{}"),
        "54 01 61 00 00000007 00000007  00 00000002 7b7d",
        request_id=7,
    ),
    Example(
        "coordinator",
        "RESULT",
        Result(status=0, version=0, value=b""),
        "54 01 20 00 00000002 00000009  00 0000000000000000",
        request_id=2,
    ),
]
