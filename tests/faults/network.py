"""A network of our own: each node in a network namespace, on one bridge, and packets that are dropped between them.

The calling process moves into a new network namespace (`leave_the_host`), where the bridge is; it and all that it
starts are one node of that network. The others are the namespaces of `Network`. None of them has a name in the system:
each lives as long as a process that waits for the end of its standard input, so nothing is left even if we are killed.

Cuts are black holes made with nftables on the way into a node: nobody is told that a packet was dropped.
A one-way cut drops the acknowledgements of the kernel in that direction, too.

Needs root, or a kernel that lets anybody make namespaces; `ip`, `unshare`, `nsenter` and `nft`. `missing()` says what
is not there.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.live.cluster import wait_for

NETWORK = "10.231.77"
BRIDGE = "faults"
HERE = f"{NETWORK}.254"
"""The address of the calling process."""

PACKAGES = {"ip": "iproute2", "nft": "nftables", "unshare": "util-linux", "nsenter": "util-linux"}
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000

_left: list[str] = []
"""Where we were, once we have left."""


def missing() -> str:
    """Why there can be no such network here, in a sentence with the command that changes it; empty if there can."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    packages = sorted({package for tool, package in PACKAGES.items() if shutil.which(tool, path=path) is None})
    if packages:
        return f"a tool is missing: apt-get install -y {' '.join(packages)}"
    try:
        leave_the_host()
    except OSError as error:
        return f"no network namespace can be made ({error.strerror}): run it as root"
    return ""


def leave_the_host() -> None:
    """Move this process into a network namespace, once, before any other thread uses the network. Raises OSError."""
    if _left:
        return
    user, group = os.getuid(), os.getgid()
    before = os.readlink("/proc/self/ns/net")
    try:
        _unshare(CLONE_NEWNET)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        _unshare(CLONE_NEWUSER | CLONE_NEWNET)
        with contextlib.suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _left.append(before)
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    _run("ip", "link", "set", "lo", "up")


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _run(*command: str, text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done.stdout


class Network:
    """Nodes by name. As a context manager it is taken down at the end."""

    def __init__(self, names: Sequence[str]) -> None:
        leave_the_host()
        self.addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate(names, 1)}
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self._cut: set[str] = set()
        """Nodes that drop something. The calling process is the node without a name."""

    def __enter__(self) -> Network:
        try:
            _run("ip", "link", "add", BRIDGE, "type", "bridge")
            _run("ip", "address", "add", f"{HERE}/24", "dev", BRIDGE)
            _run("ip", "link", "set", BRIDGE, "up")
            for name in self.addresses:
                self._add(name)
            wait_for("the bridge forwards", self._forwards, 10)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        with contextlib.suppress(AssertionError):
            self.heal()
        for name in self._holders:
            # A namespace that has ended is taken down by the kernel later: the next network may want the names before.
            subprocess.run(["ip", "link", "delete", self._port(name)], capture_output=True, check=False)
        for holder in self._holders.values():
            assert holder.stdin is not None
            holder.stdin.close()
        for holder in self._holders.values():
            holder.wait(10)
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=False)

    def _add(self, name: str) -> None:
        holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._holders[name] = holder
        ours = os.readlink("/proc/self/ns/net")
        wait_for("a namespace", lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != ours, 10)
        address, port = self.addresses[name], self._port(name)
        _run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        _run("ip", "link", "set", port, "master", BRIDGE, "up")
        for command in (
            ["ip", "link", "set", "lo", "up"],
            ["ip", "address", "add", f"{address}/24", "dev", "eth0"],
            ["ip", "link", "set", "eth0", "up"],
        ):
            _run(*self.enter(name), *command)

    def _port(self, name: str) -> str:
        """The node's place at the bridge."""
        return f"{BRIDGE}{self.addresses[name].rpartition('.')[2]}"

    def _forwards(self) -> bool:
        """Whether packets pass: what is sent before that is not sent again for a second."""
        links = json.loads(_run("ip", "-json", "-details", "link", "show", "master", BRIDGE))
        return all(link["linkinfo"]["info_slave_data"]["state"] == "forwarding" for link in links)

    def enter(self, name: str) -> list[str]:
        """What a command begins with to be run on that node."""
        return ["nsenter", f"--net=/proc/{self._holders[name].pid}/ns/net"]

    # Cuts. A packet is dropped where it arrives: a kernel that drops what it sends itself knows of it, and does not
    # wait longer and longer before it sends again, as it would on a real network.

    def isolate(self, name: str) -> None:
        """Nobody hears of this node, and it hears of nobody but itself."""
        self.cut(name, *self._others(name))

    def cut(self, name: str, *others: str) -> None:
        """Nothing passes between this node and those."""
        self._drop([(name, other) for other in others] + [(other, name) for other in others])

    def cut_one_way(self, name: str, *others: str) -> None:
        """What this node sends to those does not arrive."""
        self._drop([(name, other) for other in others])

    def lose(self, name: str, percent: int) -> None:
        """So many of the packets to this node, and so many of those from it, are lost, each by chance (below 100)."""
        others = self._others(name)
        pairs = [(name, other) for other in others] + [(other, name) for other in others]
        self._drop(pairs, f"numgen random mod 100 < {percent}")

    def heal(self) -> None:
        """Everything passes again."""
        for name in sorted(self._cut):
            self._rules(name, "table inet cuts {}", "inet cuts")
        self._cut.clear()

    def _others(self, name: str) -> list[str]:
        return [other for other in (*self.addresses, "") if other != name]

    def _drop(self, pairs: list[tuple[str, str]], when: str = "") -> None:
        """Drop what is sent from the first to the second of each pair, instead of what was dropped before."""
        self.heal()
        senders: dict[str, list[str]] = {}
        for sender, receiver in pairs:
            senders.setdefault(receiver, []).append(self.addresses[sender] if sender else HERE)
        for receiver, hosts in senders.items():
            chain = f"type filter hook input priority 0; ip saddr {{ {', '.join(hosts)} }} {when} drop"
            self._rules(receiver, f"table inet cuts {{\nchain incoming {{\n{chain}\n}}\n}}", "inet cuts")
            self._cut.add(receiver)

    def redirect(self, name: str, *others: str, through: str) -> None:
        """Connections that this node makes to those from now on go to the same port of the node `through` instead."""
        hosts = ", ".join(self.addresses[other] for other in others)
        self._rules(
            name,
            f"""
            table ip ways {{
                chain outgoing {{
                    type nat hook output priority -100
                    ip daddr {{ {hosts} }} tcp dport != 0 dnat to {self.addresses[through]}
                }}
            }}
            """,
            "ip ways",
        )

    def _rules(self, name: str, table: str, table_name: str) -> None:
        """Have this table, in place of an older one of the same name."""
        text = f"table {table_name}\ndelete table {table_name}\n{table}\n"
        _run(*(self.enter(name) if name else []), "nft", "-f", "-", text=text)
