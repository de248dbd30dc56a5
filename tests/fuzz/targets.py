"""What is fuzzed: every place of the package that takes bytes or text from outside apart, by name.

A target is a function of bytes. It returns when all is well, also when the bytes were refused with an error of ours,
and raises when something does not hold: another error, a message that does not survive being encoded again, bytes that
are read differently when they are cut differently, a connection that stays open after nonsense.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs

from tests.fuzz import backups, columns, line, packed, ports, texts, wire
from tests.fuzz.client_scene import ClientScene, check_client
from tests.fuzz.coordinator_scene import CoordinatorScene, check_coordinator
from tests.fuzz.scene import seeds
from tests.fuzz.server_scene import ServerScene, check_server

CRASHERS = Path(__file__).resolve().parent / "crashers"
"""Inputs that have failed once, `NAME/*`: `test_targets.py` replays them."""


NUMBERS = (b"0", b"-1", b"1e999", b"Infinity", b"NaN", b"18446744073709551616", b"9" * 20, b"0.5", b"\xc2\xb2")
"""As texts have them: also those that are none to somebody."""
JSON = (*NUMBERS, b"null", b"true", b"[]", b"{}", b"[[[[", b'""', b'{"', b'":', b"\\ud800", b"[1]", b'"1"')


@attrs.frozen
class Target:
    """One family of decoders."""

    name: str
    check: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    """Inputs to begin with: all of them are taken apart to the end."""
    covers: tuple[str, ...]
    """Dotted names of the decoders, without `twistedkv.`."""
    words: tuple[bytes, ...] = ()
    """What atheris is to put into inputs, because it would hardly find it by itself."""
    bytes_max: int = 1024
    """Longer inputs find nothing that shorter ones do not."""


TARGETS = {
    target.name: target
    for target in (
        Target("columns", columns.check_column, columns.column_seeds, ("columns.decode_column",)),
        Target("frames", wire.check_stream, wire.stream_seeds, ("wire.frames.FrameDecoder.feed",)),
        Target(
            "opening",
            wire.check_opening,
            lambda: wire.message_seeds("opening"),
            ("wire.fields.Layout.decode",),
        ),
        Target(
            "client",
            wire.check_client,
            lambda: wire.message_seeds("client"),
            (
                "wire.client._decode_put",
                "wire.client.decode_request",
                "wire.client.decode_result",
                "wire.client.decode_response",
                "wire.fields.Family.decode",
                "wire.fields.Number.read",
                "wire.fields.Text.read",
                "wire.fields.Column.read",
            ),
        ),
        Target(
            "peer",
            wire.check_peer,
            lambda: wire.message_seeds("peer"),
            ("wire.peer.decode_replicate", "wire.peer.decode_ack"),
        ),
        Target(
            "coordinator",
            wire.check_coordinator,
            lambda: wire.message_seeds("coordinator"),
            ("wire.coordinator.HeartbeatDecoder.decode", "wire.coordinator.HeartbeatDecoder._usage_of"),
        ),
        Target(
            "entries",
            packed.check_entries,
            packed.entries_seeds,
            ("core.entries.decode_entries", "core.entries.decode_records"),
        ),
        Target("listing", packed.check_listing, packed.listing_seeds, ("core.evidence.decode_listing",)),
        Target(
            "archive",
            backups.check_archive,
            backups.archive_seeds,
            ("backup.archive.ArchiveReader._next", "backup.archive.ArchiveReader._document"),
            (*JSON, backups.MAGIC, b'"slots": [', b'"version": [', b'"records": '),
        ),
        Target(
            "manifest",
            backups.check_manifest,
            backups.manifest_seeds,
            ("backup.manifest.decode",),
            (*JSON, b'"files": [', b'"layout": [', b'"sha256": "', b'"format": 1'),
        ),
        Target("sessions", packed.check_sessions, packed.sessions_seeds, ("core.dedup.DedupTable.merge",)),
        Target("requests", line.check_requests, line.requests_seeds, ("resp.requests.RequestParser.feed",), line.WORDS),
        Target(
            "inline",
            line.check_inline,
            line.inline_seeds,
            ("resp.inline.split_line", "resp.inline._unescaped"),
            (b"\\x", b'"', b"'"),
        ),
        Target(
            "commands",
            line.check_commands,
            line.commands_seeds,
            (
                "commands.table.lookup",
                "commands.execution.execute",
                "commands.introspection.command_reply",
                "commands.longdouble.parse",
            ),
            line.WORDS,
        ),
        Target(
            "replies", line.check_replies, line.replies_seeds, ("resp.answers.AnswerDecoder.feed", "resp.answers.split")
        ),
        Target(
            "course", line.check_course, line.course_seeds, ("service.course.take_request",), (b"\x7b\x03\x00\x15",)
        ),
        Target(
            "port",
            ports.check_port,
            ports.port_seeds,
            ("line.port.LineConnection.dataReceived", "core.reading.Reading.clean"),
            line.WORDS,
        ),
        Target(
            "course_port",
            ports.check_course_port,
            line.course_seeds,
            ("service.course.CourseConnection.dataReceived",),
            (b"\x7b\x03\x00\x15",),
        ),
        Target("recorded", ports.check_recorded, line.replies_seeds, ("recording.lineclient._Line.dataReceived",)),
        Target("fill", packed.check_fill, packed.fill_seeds, ("core.transfer._store_records", "records.record_expiry")),
        Target(
            "history",
            texts.check_history,
            texts.history_seeds,
            ("history.record._fields_in", "history.record.record_of", "history.record.read_header"),
            (*JSON, b'"f":"', b'"call_ns":', b'"return_ns":', b'"version":', b'"args":', b'"process":', b'"value":'),
        ),
        Target("workload", texts.check_workload, texts.workload_seeds, ("workload.parse_line", "workload.parse_lines")),
        Target(
            "lines",
            texts.check_lines,
            texts.lines_seeds,
            (
                "cli.lines.parse_tsv",
                "cli.lines.parse_tsv_record",
                "cli.lines.parse_jsonl_record",
                "cli.lines._member",
                "cli.lines.unescape",
            ),
            (*JSON, b'"key":', b'"value":', b'"key_base64":', b"\\t", b"\t"),
        ),
        Target(
            "arguments",
            texts.check_arguments,
            texts.arguments_seeds,
            (
                "cli.arguments.text_bytes",
                "cli.arguments.server_id",
                "cli.arguments.expected_version",
                "client.arguments.parse_addresses",
                "client.arguments._parse_address",
                "failpoints.parse",
                "service.knobs.address",
                "service.knobs.read_file",
            ),
            (*NUMBERS, b"[", b"]:", b":", b" = ", b'"', b"server_", b"kill:", b"heartbeat = ", b"[[["),
        ),
        Target(
            "server",
            check_server,
            lambda: seeds(ServerScene),
            (
                "net.framed.Connection.dataReceived",
                "net.framed._AcceptedConnection.hello_received",
                "net.framed._DialedConnection.hello_received",
                "net.client.ClientSession.frames_received",
                "net.peer.PeerReceiver.frames_received",
                "net.peer.PeerSender.frames_received",
                "net.streaming.FillReceiver.frames_received",
                "net.streaming.FillSender.frames_received",
                "service.registration._CoordinatorSession.frames_received",
                "service.registration.Registration._call",
                "core.requests.Requests.requests",
                "core.replica.Replica._apply",
                "core.reading.Reading._get",
                "storage.memory.MemoryStore.purge",
                "records.record_version",
            ),
        ),
        Target(
            "daemon",
            check_coordinator,
            lambda: seeds(CoordinatorScene),
            (
                "net.coordinator.ServerSession.frames_received",
                "net.coordinator.ServerSession.ask",
                "net.coordinator.ClientSession.frames_received",
                "net.coordinator.ClientSession._admin",
                "service.admin._number",
            ),
            (*JSON, b'{"command": "journal"', b', "after": ', b'"switch"', b', "shard": ', b', "server": '),
        ),
        Target(
            "answers",
            check_client,
            lambda: seeds(ClientScene),
            (
                "client.rim._LinkSession.frames_received",
                "client.routing.Router.frames_received",
                "client.routing._records",
                "client.routing.Router._direct_received",
                "client.journal._decode",
            ),
        ),
    )
}
