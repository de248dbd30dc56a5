"""redis-cli and redis-benchmark, as their users call them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from tests.clients.cluster import LineCluster
from tests.clients.script import Tally, same
from tests.clients.terminal import Pipe, Terminal

SECONDS_MAX = 120.0
INSTALL = "redis-cli and redis-benchmark are not installed: make tools (Debian and Ubuntu: apt-get install redis-tools)"

Said = Callable[[str], None]


def missing() -> str:
    """Why the programs cannot be run; empty if they can."""
    return "" if shutil.which("redis-cli") and shutil.which("redis-benchmark") else INSTALL


def require_tools() -> None:
    """Skip the test where they are missing; but fail it in CI."""
    if missing():
        if os.environ.get("CI"):
            pytest.fail(INSTALL, pytrace=False)
        pytest.skip(INSTALL)


def version(program: str) -> str:
    """As it says itself."""
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]


def run(*command: str, text: str = "", code: int = 0) -> str:
    """What the program says, with its errors. AssertionError unless it ends with this exit code."""
    done = subprocess.run(
        command,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == code, f"{' '.join(command)}: exit code {done.returncode}: {done.stdout[-2000:]}"
    return done.stdout


def cli(cluster: LineCluster, *arguments: str, place: int = 0, text: str = "", code: int = 0) -> str:
    """What redis-cli says, without the last line feed."""
    return run("redis-cli", "-p", str(cluster.line_ports[place]), *arguments, text=text, code=code).removesuffix("\n")


# redis-cli.


def one_by_one(cluster: LineCluster, said: Said) -> None:
    """A command for each call, in the ways in which they can be given and shown."""
    same(cli(cluster, "SET", "greeting", "hello"), "OK")
    same([cli(cluster, "GET", "greeting", place=place) for place in range(3)], ["hello"] * 3)
    same(cli(cluster, "-3", "GET", "nothing"), "")
    same(cli(cluster, "--no-raw", "GET", "nothing"), "(nil)")
    same(cli(cluster, "--no-raw", "-3", "INCR", "n"), "(integer) 1")
    same(cli(cluster, "-r", "3", "INCR", "n"), "2\n3\n4")
    same(cli(cluster, "-x", "SET", "file", text="two\nlines"), "OK")
    same(cli(cluster, "--no-raw", "GET", "file"), r'"two\nlines"')
    same(cli(cluster, "--quoted-input", "SET", r'"\x00"', r'"\xff"'), "OK")
    same(cli(cluster, "--csv", "MGET", "greeting", "nothing", "n"), '"hello",NULL,"4"')
    same(cli(cluster, "--json", "MGET", "greeting", "nothing"), '["hello",null]')
    assert '"proto":3' in cli(cluster, "--json", "HELLO", "3")
    same(run("redis-cli", "-u", f"redis://127.0.0.1:{cluster.line_ports[1]}/0", "GET", "greeting"), "hello\n")
    assert "unknown command 'LPUSH'" in cli(cluster, "LPUSH", "list", "x")
    same(cli(cluster, "-e", "INCR", "greeting", code=1), "ERR value is not an integer or out of range")
    lines = ["MULTI", "SET {t}a 1", "INCR {t}a", "EXEC", 'SET "a b" "c\\r\\nd"', 'STRLEN "a b"']
    same(cli(cluster, text="\n".join(lines) + "\n"), "OK\nQUEUED\nQUEUED\nOK\n2\nOK\n4")
    assert "redis_version:7.0.15" in cli(cluster, "INFO", "server")
    said(f"redis-cli {version('redis-cli')}: plain, -3, -x, -r, --csv, --json, -u, from a pipe")


def typed(cluster: LineCluster, said: Said) -> None:
    """A person at a terminal."""
    prompt = f"127.0.0.1:{cluster.line_ports[0]}> "
    with Terminal(["redis-cli", "-p", str(cluster.line_ports[0])]) as terminal:
        terminal.until(prompt)
        for line, shown in (
            ("SET visits 1", "OK"),
            ("INCR visits", "(integer) 2"),
            ("MGET visits nothing", '1) "2"\n2) (nil)'),
            ("NONSENSE", "(error) ERR unknown command 'NONSENSE', with args beginning with: "),
        ):
            terminal.type(line)
            same(terminal.until(prompt).partition("\n")[2].rstrip("\n"), shown)
        terminal.type("HELP VERIFY")
        assert "Compare a value on all copies of its shard" in terminal.until(prompt)
    said("at a terminal, with HELP that comes from us")


def loads(cluster: LineCluster, said: Said, keys: int) -> None:
    """--pipe, and what goes over all keys. They have to be the only ones."""
    text = "".join(f"SET key:{number} value{number}\r\n" for number in range(keys))
    assert f"errors: 0, replies: {keys}\n" in (shown := cli(cluster, "--pipe", text=text) + "\n"), shown
    arrays = "".join(
        f"*3\r\n$3\r\nSET\r\n${len(f'key:{number}')}\r\nkey:{number}\r\n$1\r\n{number % 10}\r\n"
        for number in range(keys)
    )
    assert f"errors: 0, replies: {keys}\n" in (shown := cli(cluster, "--pipe", text=arrays, place=1) + "\n"), shown
    same(cli(cluster, "DBSIZE"), str(keys))
    found = cli(cluster, "--scan").split("\n")
    same((len(found), set(found)), (keys, {f"key:{number}" for number in range(keys)}))
    same(sorted(cli(cluster, "--scan", "--pattern", "key:1?").split("\n")), [f"key:{each}" for each in range(10, 20)])
    cli(cluster, "SET", "big", "x" * 1_000)
    shown = cli(cluster, "--bigkeys")
    assert f"Sampled {keys + 1} keys in the keyspace!" in shown, shown
    assert """Biggest string found '"big"' has 1000 bytes""" in shown, shown
    assert f"{keys + 1} strings with {keys + 1000} bytes (100.00% of keys" in shown, shown
    shown = cli(cluster, "--memkeys")
    assert re.search(r"""Biggest string found '"big"' has 1\d\d\d bytes""", shown), shown
    assert "LFU maxmemory policy is not selected" in cli(cluster, "--hotkeys", code=1)
    said(f"--pipe of {keys:,} lines and of {keys:,} arrays, --scan, --bigkeys, --memkeys")


def watches(cluster: LineCluster, said: Said) -> None:
    """--stat and --latency."""
    keys = cli(cluster, "DBSIZE")
    with Terminal(["redis-cli", "-p", str(cluster.line_ports[0]), "--stat", "-i", "0.1"]) as terminal:
        terminal.until("keys       mem      clients blocked requests            connections")
        shown = [terminal.until("\n").split() for _ in range(5)][1:]
    requests = [int(line[4]) for line in shown]
    same((requests, [line[0].isdigit() for line in shown]), (sorted(requests), [True] * 4))
    least, most, average, samples = cli(cluster, "--latency").split()
    assert int(samples) > 10, samples
    assert float(least) <= float(average) <= float(most)
    said(f"--stat ({' '.join(shown[-1])}; {keys} keys), --latency ({samples} times, {average} ms)")


def about_cluster(cluster: LineCluster, said: Said) -> None:
    """--cluster info, check and call."""
    one = f"127.0.0.1:{cluster.line_ports[0]}"
    shown = run("redis-cli", "--cluster", "info", one)
    assert "keys in 3 masters" in shown, shown
    for port in cluster.line_ports:
        assert re.search(rf"127\.0\.0\.1:{port} \(\w+\.\.\.\) -> \d+ keys \| 54\d\d slots \| 0 slaves", shown), shown
    shown = run("redis-cli", "--cluster", "check", one)
    assert "[OK] All nodes agree about slots configuration." in shown, shown
    assert "[OK] All 16384 slots covered." in shown, shown
    shown = run("redis-cli", "--cluster", "call", one, "PING")
    same(
        sorted(line for line in shown.splitlines() if "PONG" in line),
        sorted(f"127.0.0.1:{port}: PONG" for port in cluster.line_ports),
    )
    said("--cluster info, check, call")


def follows(cluster: LineCluster, said: Said) -> None:
    """-c, which goes where it is sent."""
    for number in range(30):
        same(cli(cluster, "-c", "SET", f"c:{number}", str(number)), "OK")
    same([cli(cluster, "-c", "GET", f"c:{number}", place=2) for number in range(30)], [str(each) for each in range(30)])
    lines = "".join(f"INCR c:{number}\n" for number in range(30))
    shown = cli(cluster, "-c", text=lines)
    same([line for line in shown.split("\n") if line.isdigit()], [str(each + 1) for each in range(30)])
    moves = cli(cluster, text=lines).count("MOVED")
    same(moves > 0, cluster.moved)
    said(f"-c, {moves} of 30 keys elsewhere")


def goes_on(cluster: LineCluster, said: Said, *flags: str) -> None:
    """Increments from a pipe while another server is killed, and then its own."""
    tallies = []
    with Pipe(["redis-cli", "-p", str(cluster.line_ports[0]), *flags]) as pipe:
        for place in (1, 0):
            tallies.append(tally := Tally(f"tally:{place}"))
            _increments(cluster, pipe, place, tally)
            if place and not cluster.moved:
                same(tally.errors, {})
            said(f"{'-c, ' if flags else ''}{'another' if place else 'its'} server killed: {tally}")
    for tally in tallies:
        tally.judge({key: cli(cluster, "-c", "GET", key, place=2).splitlines()[-1] for key in tally.keys})


def _increments(cluster: LineCluster, pipe: Pipe, place: int, tally: Tally) -> None:
    healed = threading.Event()

    def replace() -> None:
        cluster.healed(cluster.kill(place))
        healed.set()

    killing = threading.Thread(target=replace)
    left = 200
    while left:
        if tally.acknowledged == 50 and killing.ident is None:
            killing.start()
        left -= healed.is_set()
        key, by = tally.next()
        lines = pipe.ask(f"INCRBY {key} {by}")
        if lines[-1].isdigit():
            tally.done(key, by)
        else:
            tally.failed(key, by, RuntimeError("; ".join(lines)))
            time.sleep(0.05)
    killing.join()


def redis_cli(cluster: LineCluster, said: Said) -> None:
    """The whole script."""
    one_by_one(cluster, said)
    typed(cluster, said)
    follows(cluster, said)
    cli(cluster, "FLUSHALL")
    loads(cluster, said, 20_000)
    watches(cluster, said)
    about_cluster(cluster, said)
    cli(cluster, "FLUSHALL")
    goes_on(cluster, said)
    cli(cluster, "FLUSHALL")
    goes_on(cluster, said, "-c")


def redis_cli_moved(cluster: LineCluster, said: Said) -> None:
    """What is different when a server sends its clients elsewhere."""
    follows(cluster, said)
    about_cluster(cluster, said)
    goes_on(cluster, said, "-c")


# redis-benchmark.


def rates(cluster: LineCluster, *arguments: str) -> dict[str, float]:
    """Run it: requests a second, by test. AssertionError if there was an error."""
    shown = run("redis-benchmark", "-p", str(cluster.line_ports[0]), "-q", *arguments)
    found = re.findall(r"([A-Z][\w() ]+?): ([\d.]+) requests per second", shown.replace("\r", "\n"))
    assert not re.search("error|warning", shown, re.IGNORECASE), shown[-2000:]
    return {name: float(rate) for name, rate in found}


TESTS = ("-t", "ping,set,get,incr,mset")
NAMES = ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"]


def measures(cluster: LineCluster, said: Said, requests: int, *flags: str) -> None:
    """All tests that there can be, once."""
    found = rates(cluster, *TESTS, "-n", str(requests), "-r", "10000", *flags)
    same([name for name in NAMES if found.get(name, 0) <= 0 and ("--cluster" not in flags or "PING" not in name)], [])
    shown = ", ".join(f"{name} {rate:,.0f}/s" for name, rate in found.items())
    said(f"redis-benchmark {version('redis-benchmark')} {' '.join(flags)}: {shown}")


def measures_through_kill(cluster: LineCluster, said: Said, requests: int) -> None:
    """Another server is killed in the middle: no error, and it comes to its end."""
    pids: list[int] = []
    killing = threading.Timer(0.2, lambda: pids.append(cluster.kill(1)))
    killing.start()
    found = rates(cluster, "-t", "set,incr", "-n", str(requests), "-P", "16", "-r", "10000")
    assert pids, "it ended before the server was killed"
    killing.join()
    same([name for name in ("SET", "INCR") if found.get(name, 0) <= 0], [])
    cluster.healed(*pids)
    said(
        f"redis-benchmark -P 16, another server killed: {', '.join(f'{n} {rate:,.0f}/s' for n, rate in found.items())}"
    )


def redis_benchmark(cluster: LineCluster, said: Said) -> None:
    """The whole script."""
    for flags in ((), ("-3",), ("-P", "16"), ("--threads", "2"), ("-d", "1024", "-P", "4")):
        measures(cluster, said, 5_000, *flags)
    measures(cluster, said, 10_000, "--cluster", "-P", "16")
    measures_through_kill(cluster, said, 100_000)
    measures(cluster, said, 10_000, "--cluster")


def redis_benchmark_moved(cluster: LineCluster, said: Said) -> None:
    """Only `--cluster` goes where it is sent."""
    measures(cluster, said, 10_000, "--cluster")
    cluster.healed(cluster.kill(1))
    measures(cluster, said, 10_000, "--cluster", "-P", "16")
