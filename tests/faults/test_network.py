"""The network of our own does what it says, in a process of its own, because that leaves the host's network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.network import HERE, Network, missing
from tests.faults.scenarios import SCENARIOS
from tests.faults.stage import named

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = 77
PORT = 7400

RECEIVE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
s.settimeout(5)
print("bound", flush=True)
print(s.recvfrom(100)[0].decode(), flush=True)
"""
SEND = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(20):
    s.sendto(sys.argv[1].encode(), (sys.argv[2], int(sys.argv[3])))
"""


def heard(network: Network, sender: str, receiver: str) -> bool:
    """Whether anything arrives of what one node sends to another. "" is this process."""
    address = network.addresses[receiver] if receiver else HERE
    before = network.enter(receiver) if receiver else []
    arguments = [*before, sys.executable, "-c", RECEIVE, address, str(PORT)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as receiving:
        assert receiving.stdout is not None
        assert receiving.stdout.readline() == "bound\n"
        before = network.enter(sender) if sender else []
        subprocess.run([*before, sys.executable, "-c", SEND, "from outside", address, str(PORT)], check=True)
        # What is sent from the receiver's own node is never cut: it arrives last, and ends the waiting.
        before = network.enter(receiver) if receiver else []
        subprocess.run([*before, sys.executable, "-c", SEND, "from itself", address, str(PORT)], check=True)
        return receiving.stdout.readline() == "from outside\n"


def main() -> int:
    """All that is cut, and what is not."""
    why_not = missing()
    if why_not:
        print(why_not)
        return SKIPPED
    with Network(["a", "b", "c"]) as network:
        assert heard(network, "a", "b")
        assert heard(network, "", "a")
        network.isolate("a")
        assert not heard(network, "a", "b")
        assert not heard(network, "b", "a")
        assert not heard(network, "", "a")
        assert not heard(network, "a", "")
        assert heard(network, "b", "c")
        network.cut_one_way("a", "b")
        assert not heard(network, "a", "b")
        assert heard(network, "b", "a")
        assert heard(network, "a", "c")
        network.cut("b", "c")
        assert heard(network, "a", "b")
        assert not heard(network, "c", "b")
        network.lose("a", 50)
        assert heard(network, "b", "a")
        network.heal()
        assert heard(network, "b", "c")
    with Network(["a"]) as network:
        assert heard(network, "", "a"), "it can be made again"
    return 0


def test_cuts_in_namespaces() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.test_network"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if done.returncode == SKIPPED and os.environ.get("CI") != "true":
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr


def test_scenarios_are_chosen_by_name() -> None:
    assert named(SCENARIOS, []) == list(SCENARIOS)
    assert [s.name for s in named(SCENARIOS, ["kill-all", "kill-primary"])] == ["kill-primary", "kill-all"]
    with pytest.raises(ValueError, match="there is no scenario kill-nobody: choose from kill-primary, kill-backup"):
        named(SCENARIOS, ["kill-nobody"])
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    assert all(scenario.about.endswith(".") for scenario in SCENARIOS)


if __name__ == "__main__":
    sys.exit(main())
