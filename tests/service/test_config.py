"""Options: flags over file over defaults, and one sentence for everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from twistedkv.errors import ConfigurationError
from twistedkv.service.config import (
    CLUSTER_KNOBS,
    COORDINATOR_KNOBS,
    SERVER_KNOBS,
    CoordinatorOptions,
    ServerOptions,
    cluster_options,
    coordinator_options,
    server_options,
)
from twistedkv.service.knobs import Knob, address, read_file
from twistedkv.service.space import SPACE_KNOBS
from twistedkv.watermarks import Eviction, Limits

ETC = Path(__file__).parent.parent.parent / "etc"


def test_without_anything_the_defaults_hold() -> None:
    assert server_options({}) == ServerOptions()
    assert coordinator_options({}) == CoordinatorOptions()
    assert cluster_options({}) == CoordinatorOptions(spawn=True, owns_servers=True)
    assert CoordinatorOptions().shards == 12


def test_flags_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "cluster.toml"
    file.write_text('port = 7500\nservers = 5\nheartbeat = 1\nbase-dir = "here"\nspawn = true\n')
    options = coordinator_options({"servers": "4", "copies": None, "spawn": 0}, str(file))
    assert options.port == 7500
    assert options.servers == 4
    assert options.shards == 16, "four for each server"
    assert options.heartbeat_seconds == 1.0
    assert options.base_dir == Path("here")
    assert options.spawn, "a flag that was not given does not take back what the file says"


def test_all_options_of_a_server() -> None:
    given = {
        "coordinator": "node7:7401",
        "cluster": "books",
        "id": "server_3",
        "host": "10.0.0.3",
        "port": "7403",
        "line-port": "7380",
        "moved": 1,
        "line-idle": "300",
        "course-port": "9003",
        "standby": 1,
        "data-dir": "/var/lib/twistedkv",
        "memory-limit": "2GiB",
        "disk-limit": "10GB",
        "low-watermark": "0.7",
        "high-watermark": "0.9",
        "eviction": "lru",
        "die-with-parent": 1,
    }
    assert server_options(given) == ServerOptions(
        coordinator=("node7", 7401),
        cluster="books",
        server_id=3,
        host="10.0.0.3",
        port=7403,
        line_port=7380,
        moved=True,
        line_idle_seconds=300.0,
        course_port=9003,
        standby=True,
        data_dir=Path("/var/lib/twistedkv"),
        limits=Limits(2**31, 10**10, 0.7, 0.9, Eviction.LRU),
        die_with_parent=True,
    )
    of_space = {name.replace("-", "_") for name, _, _ in SPACE_KNOBS}
    keys = {knob.key for knob in SERVER_KNOBS} - of_space - {"id", "line_idle"}
    assert keys | {"server_id", "line_idle_seconds", "limits"} == {field.name for field in attrs.fields(ServerOptions)}


def test_options_of_the_ports_of_spawned_servers() -> None:
    given = {"line-port": "0", "moved": 1, "line-idle": "0.5", "course-port": "9000", "servers": 2}
    options = cluster_options(given)
    assert (options.line_port, options.moved, options.line_idle_seconds, options.course_port) == (0, True, 0.5, 9000)
    assert cluster_options({}).line_port == 7379


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:7400", ("127.0.0.1", 7400)),
        ("localhost", ("localhost", 7400)),
        (" node:1 ", ("node", 1)),
        ("[::1]:80", ("::1", 80)),
        ("[::1]", ("::1", 7400)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert address(text) == expected


@pytest.mark.parametrize("text", ["", ":7400", "a:b", "a:0", "a:65536", "::1", "[::1", "[::1]x", 7400, None])
def test_what_is_no_address(text: object) -> None:
    with pytest.raises(ValueError, match="host:port"):
        address(text)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("prot = 1", "prot: there is no such key, expected one of accept-loss, base-dir"),
        ('port = "x"', "port: expected a whole number from 0 to 65535, got 'x'"),
        ("port = true", "port: expected a whole number from 0 to 65535, got True"),
        ("port = 70000", "port: expected a whole number from 0 to 65535, got 70000"),
        ("port = 1.5", "port: expected a whole number from 0 to 65535, got 1.5"),
        ("heartbeat = 0", "heartbeat: expected a number of seconds from 0.02 to 60, got 0"),
        ("heartbeat = false", "heartbeat: expected a number of seconds"),
        ('heartbeat = "often"', "heartbeat: expected a number of seconds"),
        ("accept-loss = 1", "accept-loss: expected true or false, got 1"),
        ('base-dir = ""', "base-dir: expected a path, got ''"),
        ('cluster = ""', "cluster: expected a name of 1 to 64 bytes"),
        ('host = "a\\nb"', "host: expected a host name or address"),
        ("copies = 9", "copies: expected a whole number from 1 to 8, got 9"),
        ("copies = 4", "copies: 4 copies need as many servers, but servers is 3"),
        ("min-copies = 3", "min-copies: expected at most copies, which is 2, got 3"),
        ("line-port = 65534", "line-port: 65534 leaves no ports for 3 servers"),
        ("course-port = 65533", "course-port: 65533 leaves no ports for 3 servers"),
        ("line-idle = -1", "line-idle: expected a number of seconds from 0 to"),
        ("servers = 22\nport = 7400", "line-port: 7379 to 7400 and port 7400 overlap"),
        ("line-port = 9002\ncourse-port = 9000", "course-port: 9000 to 9003 and line-port 9002 to 9004 overlap"),
        ("course-port = 7398", "course-port: 7398 to 7401 and port 7400 overlap"),
        ("servers-max = 65000", "servers-max: expected a whole number from 0 to 1000, got 65000"),
        ("servers-max = 23\nport = 7400", "line-port: 7379 to 7401 and port 7400 overlap"),
        ('memory-limit = "much"', "memory-limit: expected a size as in 512MB, 2GiB or 1000000, or 0, got 'much'"),
        ("low-watermark = 0.96", "the low one below the high one, got 0.96 and 0.95"),
        ('eviction = "fifo"', "eviction: expected none, lru or ttl, got 'fifo'"),
        ('eviction = "lru"', "eviction: lru needs a memory-limit or a disk-limit"),
        ("servers = 0", "servers: expected a whole number from 1 to 1000, got 0"),
        ("port = ", "is not valid TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_one_sentence(tmp_path: Path, line: str, sentence: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(line + "\n")
    with pytest.raises(ConfigurationError) as caught:
        cluster_options({}, str(file))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value) or "TOML" in sentence


def test_what_is_wrong_in_a_flag_names_the_flag() -> None:
    with pytest.raises(ConfigurationError, match="--port: expected a whole number from 0 to 65535, got 'many'"):
        coordinator_options({"port": "many"})
    with pytest.raises(ConfigurationError, match="--id: expected a whole number from 0 to 1000"):
        server_options({"id": "server_x"})


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        server_options({}, str(tmp_path / "none.toml"))
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is not valid TOML"):
        server_options({}, str(tmp_path / "b.toml"))


@pytest.mark.parametrize(
    ("name", "knobs"), [("cluster", CLUSTER_KNOBS), ("coordinator", COORDINATOR_KNOBS), ("server", SERVER_KNOBS)]
)
def test_the_documented_files_name_every_knob_with_its_default(
    name: str, knobs: tuple[Knob, ...], tmp_path: Path
) -> None:
    text = (ETC / f"{name}.toml").read_text()
    read = {"cluster": cluster_options, "coordinator": coordinator_options, "server": server_options}[name]
    assert read({}, str(ETC / f"{name}.toml")) == read({}), "as it stands, the file changes nothing"
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    keys = [line for line in lines if any(line.startswith(f"{knob.name} = ") for knob in knobs)]
    assert {line.split(" = ")[0] for line in keys} == {knob.name for knob in knobs} - {"die-with-parent"}
    (tmp_path / "all.toml").write_text("\n".join(keys))
    assert len(read_file(tmp_path / "all.toml", knobs)) == len(keys), "what is commented out is valid, too"
