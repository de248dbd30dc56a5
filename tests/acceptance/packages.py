"""The system's package index, loaded while two servers are killed one after the other, and read back.

`python -m tests.acceptance.packages`. Where there is no apt, as many records are made up.
"""

from __future__ import annotations

import concurrent.futures
import json
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

from tests.acceptance.report import Report, run
from tests.live.cluster import BIN, Cluster, send, wait_for

RECORDS_MIN = 60_000
LOAD_SECONDS = 12.0
"""The records are fed to `twistedkv load` over so long, for two servers to be killed and replaced meanwhile."""


def index() -> tuple[dict[str, str], str]:
    """Package name to paragraph, and where it is from."""
    try:
        text = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=True).stdout.decode(
            "utf-8", "replace"
        )
    except (OSError, subprocess.CalledProcessError):
        text = ""
    records = {}
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("Package: "):
            records[paragraph.partition("\n")[0].removeprefix("Package: ")] = paragraph
    if len(records) >= RECORDS_MIN:
        return records, "apt-cache dumpavail"
    chance = random.Random(1)
    words = ["größe", "library", "tab\there", "back\\slash", "daemon", "日本語", "Depends:", "\r\n"]
    made = {f"package-{i}": " ".join(chance.choices(words, k=chance.randrange(5, 200))) for i in range(RECORDS_MIN)}
    return made, "made up, for apt-cache dumpavail has too few (apt-get update fetches them)"


def feed(load: subprocess.Popen[bytes], records: dict[str, str]) -> None:
    """All records, evenly over LOAD_SECONDS."""
    assert load.stdin is not None
    began = time.monotonic()
    for number, (key, value) in enumerate(records.items()):
        if number % 200 == 0:
            time.sleep(max(0.0, began + LOAD_SECONDS * number / len(records) - time.monotonic()))
        load.stdin.write(json.dumps({"key": key, "value": value}).encode() + b"\n")
    load.stdin.close()


def script(report: Report, directory: Path) -> None:
    records, source = index()
    size = sum(len(value.encode()) for value in records.values())
    report.measured(f"{len(records)} records, {size / 1e6:.1f} MB, from {source}")
    with Cluster(directory) as cluster:
        cluster.start_cluster()
        load = subprocess.Popen(
            [str(BIN / "twistedkv"), "load", "--format", "jsonl", "--json", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=cluster.environment({"TWISTEDKV_COORDINATOR": cluster.address}),
        )
        feeding = threading.Thread(target=feed, args=(load, records), daemon=True)
        feeding.start()
        victims = random.sample((1, 2, 3), 2)
        for part, server in enumerate(victims, 1):

            def loaded(part: int = part) -> bool:
                return sum(s["keys"] for s in cluster.status()["servers"]) > 2 * len(records) * part * 0.2

            wait_for(f"part {part} is loaded", loaded)
            pid = cluster.pids()[server]
            send(pid, signal.SIGKILL)
            began = time.monotonic()
            cluster.healed(pid)
            report.holds(
                load.poll() is None and feeding.is_alive(),
                f"server {server} was killed during the load, all copies are there again after "
                f"{time.monotonic() - began:.1f} s, and the load goes on",
            )
        feeding.join()
        assert load.stdout is not None
        assert load.stderr is not None
        said, errors = load.stdout.read(), load.stderr.read()
        report.holds(load.wait() == 0, f"load: {said.decode().strip()}", errors.decode()[-1000:])

        exported = directory / "all.jsonl"
        cluster.command("export", "-o", exported)
        lines = [json.loads(line) for line in exported.read_text("utf-8").splitlines()]
        found = {line["key"]: line["value"] for line in lines}
        report.holds(len(lines) == len(records), f"export wrote {len(lines)} records")
        report.holds(found == records, "and they are exactly what was loaded")

        client = cluster.client()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            checks = pool.map(lambda pair: client.verify(pair[0].encode(), pair[1].encode()), records.items())
            bad = [check for check in checks if len(check) != 2 or not all(copy.matches for copy in check)]
        report.holds(not bad, f"VERIFY agrees on both copies of all {len(records)} records", bad[:3])


if __name__ == "__main__":
    run("point 3: the package index", script)
