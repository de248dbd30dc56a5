"""Tables: what they say, and that they fit."""

import io

import pytest
from rich.console import Console, RenderableType

from tests.cli import documents
from tests.cli.fakes import example_map
from twistedkv.cli.tables import event_line, map_json, map_view, status_view


def rendered(view: RenderableType, width: int = 80, color: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=color, color_system="standard" if color else None).print(view)
    return out.getvalue()


def test_a_healthy_cluster() -> None:
    text = rendered(status_view(documents.status()))
    assert "Cluster twistedkv: healthy, 2 copies, map version 42" in text
    assert "Coordinator 127.0.0.1:7400, pid 4000, up 3 min 05 s, heartbeat 0.2 s" in text
    server_line = next(line for line in text.splitlines() if line.startswith("server_2"))
    assert server_line.split() == [
        "server_2",
        "active",
        "127.0.0.1:7402",
        "7380",
        "4002",
        "0.1",
        "s",
        "4",
        "4",
        "0",
        "20,513",
        "11.8",
        "MiB",
    ]
    shard_line = next(line for line in text.splitlines() if "1366-2731" in line)
    assert shard_line.split() == ["1", "1366-2731", "3", "server_1", "2", "-", "ok", "5,123"]
    assert "Operation" not in text


def test_how_full_servers_are() -> None:
    space = {"memory_used": 85 * 2**20, "memory_limit": 100 * 2**20, "disk_used": 0, "disk_limit": 0, "space": "low"}
    servers = [documents.server(1, **space), documents.server(2, **space | {"space": "ok"}), documents.server(3)]
    shortages = [{"server": 1, "text": "server 1 is short: add a server"}]
    text = rendered(status_view(documents.status(servers=servers, shortages=shortages)), 100)
    ends = [line.rstrip() for line in text.splitlines() if line.startswith("server_")]
    assert [line.endswith(" 85.0 MiB of 100.0 MiB LOW") for line in ends] == [True, False, False]
    assert ends[1].endswith(" 85.0 MiB of 100.0 MiB")
    assert ends[2].endswith(" 11.8 MiB")
    assert "server 1 is short: add a server.\n" in text
    assert "Disk" not in text
    disks = [documents.server(1, **space | {"disk_used": 96, "disk_limit": 100, "space": "high"})]
    text = rendered(status_view(documents.status(servers=disks)), 120)
    assert "Disk" in text and "96 B of 100 B HIGH" in text


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_and_stays_one_line_a_thing(width: int) -> None:
    wide = documents.status(
        servers=[
            documents.server(1, address="192.168.100.200:65535", pid=4194304, state="standby", keys=99_999_999),
            documents.server(1000, state="failed", last_beat_seconds=None),
        ],
        shards=[documents.shard(11, slots=[15018, 16383], secondaries=[2, 3, 4], learners=[5], state="switching")],
        operations=[documents.operation()],
    )
    lines = rendered(status_view(wide), width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("15018-16383" in line for line in lines) == 1
    assert sum("USE_SECONDARY" in line for line in lines) == 1


def test_a_running_operation_and_none_that_has_ended() -> None:
    operations = [
        documents.operation(),
        documents.operation(id="move-7", kind="move", state="done"),
        documents.operation(id="switch-8", kind="switch", server=None, records=0, records_total=0, seconds_left=None),
    ]
    text = rendered(status_view(documents.status(operations=operations)), 100)
    line = next(line for line in text.splitlines() if line.startswith("recovery-1"))
    assert line.split("━")[0].split() == ["recovery-1", "server_3", "USE_SECONDARY"]
    assert line.split("━")[-1].split() == ["5,000/20,000", "5.0", "MiB/s", "2.5", "s"]
    assert "move-7" not in text
    assert next(line for line in text.splitlines() if line.startswith("switch-8")).split()[-1] == "-"


def test_what_is_lost_is_red_and_says_what_to_do() -> None:
    lost = documents.status(healthy=False, lost=[3], shards=[documents.shard(3, state="lost")])
    text = rendered(status_view(lost), 80)
    assert "DATA LOST" in text
    assert "Shard 3 is LOST" in text
    assert "twistedkv admin accept-loss 3" in " ".join(text.split())
    assert "\x1b[1;31mShard 3 is LOST" in rendered(status_view(lost), 120, color=True)


def test_several_that_are_lost() -> None:
    text = rendered(status_view(documents.status(healthy=False, lost=[3, 5])), 120)
    assert "Shards 3, 5 are LOST: no server that held a copy is left. They are taken back" in text
    assert "To make them empty and usable: twistedkv admin accept-loss SHARD|all" in text


def test_a_cluster_that_has_not_been_formed() -> None:
    text = rendered(status_view(documents.status(cluster="", healthy=False, shards=[], servers=[])))
    assert "Cluster: not healthy" in text
    assert "has not been formed yet" in text


def test_names_from_the_network_are_no_markup() -> None:
    bold = documents.server(1, address="[bold]x[/bold]:1")
    assert "[bold]x[/bold]:1" in rendered(status_view(documents.status(servers=[bold])), 120)


def test_the_map() -> None:
    text = rendered(map_view(example_map()))
    assert "cluster test, map version 7, 2 copies" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["0", "0-8191", "1", "server_1", "127.0.0.1:7401", "2", "-", "1", "2"] in lines
    assert ["1", "8192-16383", "4", "server_2", "LOST", "-", "3", "2", "3"] in lines


def test_the_map_for_programs() -> None:
    document = map_json(example_map())
    assert document["servers"][0] == {
        "id": 1,
        "state": "active",
        "address": "127.0.0.1:7401",
        "pid": 101,
        "store": "01" * 16,
    }
    assert document["shards"][1] == {
        "shard": 1,
        "slots": [8192, 16383],
        "epoch": 4,
        "primary": 2,
        "secondaries": [],
        "learners": [3],
        "preferred": [2, 3],
        "lost": True,
    }


def test_events() -> None:
    line = event_line(documents.event(17))
    assert line.startswith("    17  2024-05-0")
    assert line.endswith(".125  shard.promoted       shard 0: server 2 is primary (epoch 5, recovery-1)")
    nothing = {"shard": None, "epoch": None, "server": None, "operation": None}
    bare = documents.event(18, event="coordinator.started", text="generation 2", **nothing)
    assert event_line(bare).endswith("  coordinator.started  generation 2")
