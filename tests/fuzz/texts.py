"""Lines of text, files and arguments: what people and programs give to the commands."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import click

from twistedkv import failpoints, workload
from twistedkv.cli import arguments, lines
from twistedkv.client.arguments import parse_addresses
from twistedkv.errors import ConfigurationError, InvalidRequest
from twistedkv.history.record import Fault, Header, Record, header_line, line_of, read_header, read_history, record_of
from twistedkv.service import config, knobs


def check_history(data: bytes) -> None:
    """A file of a history: what is read of it can be written, printed, and read again."""
    lines = data.decode("utf-8", "replace").splitlines()
    if lines:
        header = _refusing(InvalidRequest, lambda: read_header(lines[0]))
        assert header is None or read_header(header_line(header)) == header
    for line in lines:
        record = _refusing(InvalidRequest, lambda line=line: record_of(line, 7))
        if record is not None:
            again = record_of(line_of(record))
            assert again is not None
            assert line_of(again) == line_of(record)
            assert str(again) == str(record)
    records = _refusing(InvalidRequest, lambda: read_history(lines))
    if records:
        assert [line_of(record) for record in read_history(map(line_of, records))] == [*map(line_of, records)]


def history_seeds() -> list[bytes]:
    """An operation of each kind, and a header."""
    records = [
        Record(1, 1, "k1", "write", ["v1"], 10, 20, "ok", None, (1, 1)),
        Record(1, 2, "k1", "read", [], 30, 40, "ok", "v1", (1, 1)),
        Record(2, 1, "k1", "cas", ["v1", "v2"], 30, 50, "fail", None, (1, 1), (1, 2), True),
        Record(2, 2, "c1", "incr", [3], 60, 70, "ok", 3, (1, 2)),
        Record(3, 1, "k1", "delete", [], 60, 1 << 62, "info"),
    ]
    header = Header("1f2e", 7, {"servers": 3}, (Fault(5, "kill"),), {"clients": 3})
    lines = [header_line(header), *map(line_of, records)]
    return [*(line.encode() for line in lines), "\n".join(lines).encode()]


def check_workload(data: bytes) -> None:
    """A line of a workload, with any line end; and what is read can be written."""
    try:
        operation = workload.parse_line(data, 7)
    except workload.WorkloadError as error:
        assert error.line == 7
        return
    if operation is not None:
        again = workload.parse_line(workload.format_operation(operation))
        assert again == operation
        assert list(workload.parse_lines([data])) == [(1, operation)]


def workload_seeds() -> list[bytes]:
    """A line of each kind."""
    return [
        b'P "k" "v"\n',
        b'G "k"\r\n',
        b'0 "k" " " 3',
        b'C "k" " "',
        b'V "key" "a value" 1000000',
        b"\n",
        b'P "\xff" "\xc3"',
    ]


def check_lines(data: bytes) -> None:
    """The first byte chooses the format. Keys and values survive the way to either format and back."""
    parse = (lines.parse_tsv_record, lines.parse_jsonl_record)[data[0] % 2 if data else 0]
    try:
        key, value, expiry = parse(data[1:])
    except lines.LineError:
        return
    assert lines.parse_tsv_record(lines.tsv_line(key, value, expiry) + b"\n") == (key, value, expiry)
    assert lines.parse_jsonl_record(lines.jsonl_line(key, value, expiry)) == (key, value, expiry)
    assert lines.parse_tsv(lines.tsv_line(key, value) + b"\n") == (key, value)


def lines_seeds() -> list[bytes]:
    """Lines of both formats."""
    return [
        b"\x00key\tvalue\n",
        b"\x00key\tvalue\t1700000000000\n",
        b'\x01{"key": "k", "value": "v", "expires_at_ms": 1700000000000}',
        b"\x00a\\tb\t\\0\\n\\r\\\\\r\n",
        b'\x01{"key": "k", "value": "v"}',
        b'\x01{"key_base64": "/w==", "value_base64": "AAEC", "version": 7}\n',
        b'\x01{"key": "\\ud83d\\ude00", "value": "\\u0000"}',
    ]


class _Content(type(Path())):  # type: ignore[misc]
    """A path whose file has a certain content."""

    content = b""

    def open(self, *_: Any, **__: Any) -> Any:
        return BytesIO(self.content)


def check_arguments(data: bytes) -> None:
    """The first byte chooses what the text is: an address, a number, a file of options."""
    text = data[1:].decode("utf-8", "surrogateescape")
    match data[0] % 8 if data else 0:
        case 0:
            _refusing(click.UsageError, lambda: arguments.text_bytes(text, is_hex=True))
        case 1:
            _refusing(click.UsageError, lambda: arguments.server_id(text))
        case 2:
            version = _refusing(click.UsageError, lambda: arguments.expected_version(text))
            assert version is None or 0 <= version < 1 << 64
        case 3:
            addresses = _refusing(InvalidRequest, lambda: parse_addresses(text))
            assert all(host and 0 < port < 65536 for host, port in addresses or [])
        case 4:
            _refusing(ConfigurationError, lambda: failpoints.parse(text))
        case 5:
            found = _refusing(ValueError, lambda: knobs.address(text))
            assert found is None or (found[0] and 0 < found[1] < 65536)
        case 6:
            given = {knob.name: text for knob in config.CLUSTER_KNOBS if not knob.flag}
            for name, value in given.items():
                _refusing(ConfigurationError, lambda name=name, value=value: config.cluster_options({name: value}))
        case 7:
            path = _Content("options.toml")
            path.content = data[1:]
            _refusing(ConfigurationError, lambda: knobs.read_file(path, config.COORDINATOR_KNOBS))
            _refusing(ConfigurationError, lambda: knobs.read_file(path, config.SERVER_KNOBS))


def _refusing(error: type[Exception], parse: Any) -> Any:
    """What is read; None when it was refused with this error."""
    try:
        return parse()
    except error:
        return None


def arguments_seeds() -> list[bytes]:
    """One that is accepted of each."""
    options = 'host = "127.0.0.1"\nport = 7400\ncoordinator = "h:1"\ncopies = 2\nspawn = true\nheartbeat = 0.2\n'
    texts = [
        ["6b6579"],
        ["server_2", "17"],
        ["absent", "4398046511106"],
        ["127.0.0.1:7400", "[::1]:80", "::1", "host"],
        [f"{failpoints.NAMES[0]}:kill:S_a:2"],
        ["127.0.0.1:7400", "[::1]:80", "host"],
        ["3", "0.5", "127.0.0.1", "name"],
        [options, 'base-dir = "x"\nready-file = "/y"\nservers = 5\nmin-copies = 1\n', json.dumps([])],
    ]
    return [bytes([which]) + text.encode() for which, group in enumerate(texts) for text in group]
