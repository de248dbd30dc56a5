"""docs/protocol.md against the code: every table, every number and every example."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from tests.support import annotated
from tests.wire.examples import EXAMPLES, LAYOUTS, LOG_ENTRY, RECORDS, SESSIONS, STORE_C, Example
from twistedkv import columns, limits
from twistedkv.clustermap import ServerState
from twistedkv.core import dedup, entries
from twistedkv.errors import Status
from twistedkv.messages.client import ExecuteMode
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.messages.hello import Role
from twistedkv.messages.peer import FillKind, Refusal, SlotView
from twistedkv.records import EXPIRES, EXPIRY_BYTES, RECORD_HEAD, TOMBSTONE
from twistedkv.slots import slot_of
from twistedkv.watermarks import Level
from twistedkv.wire.fields import Field, Layout, Many
from twistedkv.wire.frames import HEADER, HEADER_BYTES, MAGIC, PROTOCOL_VERSION, RETRY, FrameDecoder

PATH = Path(__file__).resolve().parent.parent / "docs" / "protocol.md"
TEXT = PATH.read_text("utf-8")

SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "16 bytes": 16}

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.family}-{e.name}")

Row = list[str]


def sections(text: str = TEXT) -> Iterator[tuple[str, str, str]]:
    """(second-level heading, third-level heading or "", text) of all parts of the page."""
    for chapter in re.split(r"^## ", text, flags=re.M)[1:]:
        title, _, rest = chapter.partition("\n")
        head, *parts = re.split(r"^### ", rest, flags=re.M)
        yield title, "", head
        for part in parts:
            name, _, body = part.partition("\n")
            yield title, name, body


SECTIONS = {(chapter, name): text for chapter, name, text in sections()}


def tables(text: str) -> list[list[Row]]:
    """The tables in a text: for each its rows below the headings, each row its cells without backquotes."""
    found: list[list[Row]] = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.M):
        rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in block.splitlines()]
        assert all(set(cell) <= set("- ") for cell in rows[1]), rows[1]
        found.append(rows[2:])
    return found


def chapter_of(example: Example) -> str:
    return {
        "opening": "Opening a connection",
        "client": "Client family",
        "coordinator": "Coordinator family",
        "peer": "Peer family",
    }[example.family]


def section_of(example: Example) -> str:
    [text] = [
        text
        for (chapter, name), text in SECTIONS.items()
        if chapter == chapter_of(example) and name.split()[:2] == [f"0x{example.type_number:02x}", example.name]
    ]
    return text


def structures_in(field: Field) -> Iterator[Layout[Any]]:
    """The layouts inside a field."""
    if isinstance(field, Layout):
        for _, inner in field.fields:
            if isinstance(inner, Layout):
                yield inner
            yield from structures_in(inner)
    elif isinstance(field, Many):
        if isinstance(field._item, Layout):
            yield field._item
        yield from structures_in(field._item)
    elif type(field).__name__ == "_Servers":
        yield from structures_in(field._many)  # type: ignore[attr-defined]


STRUCTURES = {inner.label: inner for layout in LAYOUTS.values() for inner in structures_in(layout)}


def check_layout(text: str, layout: Layout[Any]) -> None:
    found = tables(text)
    if not layout.fields:
        assert found == []
        assert "The body is empty." in text
        return
    [rows] = found
    assert [(name, size) for name, size, _ in rows] == [(name, field.label) for name, field in layout.fields]
    assert all(meaning for _, _, meaning in rows)


@every_example
def test_the_table_of_a_message_is_its_layout(example: Example) -> None:
    check_layout(section_of(example), example.layout)


@every_example
def test_the_example_of_a_message_is_what_the_codec_makes(example: Example) -> None:
    [block] = re.findall(r"^```hex\n(.*?)^```$", section_of(example), flags=re.M | re.S)
    digits = "".join(line.split("  ", 1)[0] for line in block.splitlines())
    data = bytes.fromhex(digits)
    [(number, flags, request_id, body)] = FrameDecoder().feed(data)
    assert example.layout.decode(body) == example.message
    assert (number, flags, request_id) == (example.type_number, example.flags, example.request_id)
    assert data == example.frame
    assert block.splitlines() == annotated.lines(example), "regenerate it: it is what annotated.lines gives"


def test_every_message_and_nothing_else_is_documented() -> None:
    documented = [name.split()[:2] for (_, name) in SECTIONS if name.startswith("0x")]
    assert sorted(documented) == sorted([f"0x{example.type_number:02x}", example.name] for example in EXAMPLES)


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_table_of_a_structure_is_its_layout(name: str) -> None:
    check_layout(SECTIONS["Structures", name], STRUCTURES[name])


def test_every_structure_and_nothing_else_is_documented() -> None:
    assert {name for chapter, name in SECTIONS if chapter == "Structures" and name} == set(STRUCTURES)


@pytest.mark.parametrize("kind", [Role, ServerState, ReplicaRole, Refusal, FillKind, SlotView, Level, ExecuteMode])
def test_the_table_of_an_enumeration_has_its_members(kind: type[IntEnum]) -> None:
    [rows] = tables(SECTIONS["Enumerations", kind.__name__])
    assert [(int(number), name) for number, name, _ in rows] == [(int(member), member.name) for member in kind]


def test_every_enumeration_in_a_table_is_documented() -> None:
    named = set(re.findall(r"\| u8 \((\w+)\) \|", TEXT)) - {"0", "Name"}
    assert named == {name for chapter, name in SECTIONS if chapter == "Enumerations" and name}


def test_status_codes() -> None:
    [rows] = tables(SECTIONS["Status codes", ""])
    assert [(int(number), name) for number, name, _, _ in rows] == [(int(status), status.name) for status in Status]
    assert {name: fate for _, name, fate, _ in rows if fate != "not applied"} == {
        "SUCCESS": "applied",
        "SUPERSEDED": "unknown",
        "UNKNOWN_OUTCOME": "unknown",
    }


def test_header_flags_and_limits() -> None:
    header, flags, bounds, forms = tables(SECTIONS["Frames", ""])
    offset = 0
    for (start, size, *_), code in zip(header, HEADER.format.lstrip(">"), strict=True):
        assert (int(start), int(size)) == (offset, {"B": 1, "I": 4}[code])
        offset += int(size)
    assert offset == HEADER_BYTES
    assert f"0x{MAGIC:02x}" in header[0][3]
    assert header[1][3].endswith(str(PROTOCOL_VERSION))
    assert [row[:2] for row in flags] == [[f"0x{RETRY:02x}", "RETRY"]]
    for name, value, _ in bounds:
        assert getattr(limits, name) == type(getattr(limits, name))(value), name
    assert len(forms) == 11


def test_bounds_that_the_text_names() -> None:
    assert f"1 to {limits.KEY_BYTES_MAX} bytes" in TEXT
    assert f"0 to {limits.VALUE_BYTES_MAX:,} bytes" in TEXT
    assert f"`number` < `oldest` + {limits.WRITE_WINDOW}" in TEXT
    assert f"the lower {limits.SEQUENCE_BITS} bits" in TEXT
    assert f"the upper {64 - limits.SEQUENCE_BITS} bits" in TEXT
    assert f"{limits.FILL_WINDOW_CHUNKS} may be under way" in TEXT
    assert f"from {limits.BACKOFF_SECONDS_MIN * 1000:g} ms up to {limits.BACKOFF_SECONDS_MAX * 1000:g} ms" in TEXT
    assert f"until {limits.SLOTS}." in TEXT


def test_slots() -> None:
    [rows] = tables(SECTIONS["Keys, slots and the map", ""])
    assert [(key, slot_of(key.encode())) for key, _ in rows] == [(key, int(slot)) for key, slot in rows]


def sizes_of(rows: list[Row]) -> list[int]:
    """The sizes of the fields that have a fixed one."""
    return [SIZES[size] for _, size, *_ in rows if size in SIZES]


def test_columns() -> None:
    text = SECTIONS["Frames", "Column"]
    [column] = tables(text)
    assert [name for name, *_ in column] == ["count", "size", "sizes", "strings"]
    assert sum(sizes_of(column)) == columns.COLUMN_HEAD_BYTES
    assert f"0x{columns._DIFFERENT:08x}" in column[1][2]
    assert column[2][1] == f"{columns.STRING_HEAD_BYTES} bytes each, or none"
    shown = re.findall(r"^    ([0-9a-f ]+)  of (.*)$", text, flags=re.M)
    assert len(shown) == 3
    for digits, strings in shown:
        found = [string.encode() for string in re.findall(r'"([^"]*)"', strings)]
        assert columns.encode_column(found) == bytes.fromhex(digits)


def test_the_bounds_of_an_update_are_those_of_columns() -> None:
    assert f"{RECORD_HEAD.size} bytes for each key" in SECTIONS["Client family", "0x1a PUT_MANY"]


def test_what_peers_carry_inside_of_messages() -> None:
    [record] = tables(SECTIONS["Peer family", "Record"])
    assert sum(sizes_of(record)) == RECORD_HEAD.size
    assert f"0x{TOMBSTONE:02x}" in record[1][2]
    assert f"0x{EXPIRES:02x}" in record[1][2]
    assert record[2][0] == "expiry"
    assert record[2][1] == f"{EXPIRY_BYTES} bytes or none"
    [entry] = tables(SECTIONS["Peer family", "Log entry"])
    assert [name for name, *_ in entry][:-3] == [
        "slot",
        "key_bytes",
        "record_bytes",
        "reply_bytes",
        "kind",
        "number",
        "oldest",
        "client",
    ]
    assert sum(sizes_of(entry)) == entries.ENTRY_HEAD_BYTES
    assert f"{entries.ONE}: one record; {entries.SEVERAL}: several" in entry[4][2]
    session, result = tables(SECTIONS["Peer family", "Dedup table"])
    assert sum(sizes_of(session)) == dedup._SESSION_HEAD.size
    assert sum(sizes_of(result)) == dedup._RESULT.size


def test_the_examples_of_what_peers_carry_are_real_ones() -> None:
    record = bytes.fromhex("00001c0000000029 00 76")
    assert list(entries.decode_entries(LOG_ENTRY, 1)) == [(slot_of(b"bar"), b"bar", record, 0, 5, 5, STORE_C, b"")]
    older = bytes.fromhex("00001c0000000028 00 76")
    assert entries.decode_records(RECORDS) == ([b"bar"], [older])
    table = dedup.DedupTable()
    table.merge(SESSIONS)
    assert table.find(STORE_C, 5, 0, True) == 0x1C0000000029
    assert list(table.pack(1 << 20)) == [SESSIONS]


def test_links_within_the_page_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", TEXT, flags=re.M)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= anchors


def test_lines_can_be_read_in_a_terminal() -> None:
    assert not [line for line in TEXT.splitlines() if len(line) > 120 and not line.startswith("|")]
