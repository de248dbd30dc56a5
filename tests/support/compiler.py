"""The C compiler, which the load generator of the benchmarks needs."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

INSTALL = "there is no C compiler with its headers (Debian and Ubuntu: apt-get install gcc libc6-dev)"
COMPILE_SECONDS_MAX = 30.0


def missing() -> bool:
    """Whether there is none, or one without the headers of the C library."""
    if shutil.which("cc") is None:
        return True
    command = ["cc", "-E", "-x", "c", "-"]
    done = subprocess.run(
        command,
        input=b"#include <stdio.h>\n",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=COMPILE_SECONDS_MAX,
        check=False,
    )
    return done.returncode != 0


def require_compiler() -> None:
    """Skip the test where it is missing; but fail it in CI."""
    if missing():
        if os.environ.get("CI"):
            pytest.fail(INSTALL, pytrace=False)
        pytest.skip(INSTALL)
