"""Compiles the modules that every request goes through, with mypyc, if TWISTEDKV_COMPILE is set (`make compiled`).

They are plain Python, and are imported as such otherwise. All else about the package is in pyproject.toml.
"""

import os

from setuptools import setup

HOT = """
slots records columns
resp/replies resp/inline resp/requests
storage/memory
commands/arguments commands/execution commands/numbers commands/strings commands/table
core/dedup core/entries core/expiries core/log core/mailbox core/reading core/replica core/serving core/shardkeys
core/updates
client/numbers client/operations
line/batch line/box line/conversation line/reply line/shards line/shortly
"""


def extensions() -> list:
    """The extension modules, or none."""
    if not os.environ.get("TWISTEDKV_COMPILE"):
        return []
    from mypyc.build import mypycify

    return mypycify([f"twistedkv/{name}.py" for name in HOT.split()])


setup(ext_modules=extensions())
