"""Which functions of the package take bytes or text from outside apart, as far as their source shows.

A function counts when it calls what only decoders call (`unpack_from`, `json.loads` and the like), decodes a message by
its layout, takes the frames of a connection, or has the name of a parser.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import twistedkv

PACKAGE = Path(twistedkv.__file__).resolve().parent

_CALLS = {"unpack", "unpack_from", "iter_unpack", "loads", "fromhex", "b64decode", "from_bytes", "decode_column"}
_NAMES = re.compile(r"_?(decode|parse)(_\w+)?|feed|frames_received|hello_received|dataReceived")

OUTSIDE = {
    "mapstore.rows": "the coordinator's own file, which nobody else writes, and SQLite guards",
    "mapstore.sqlite": "the same",
    "storage": "a server's own files, whose checksums are looked at first",
    "core.saved": "the same",
    "core.evidence.listing_of": "looks at records that the store has looked at",
    "simulation": "is no part of a daemon, and reads only what it has made itself",
    "net.framed.Connection.hello_received": "refuses everything; both kinds of connection have their own",
}
"""Modules and functions that are not fuzzed, and why."""


@cache
def functions() -> dict[str, ast.FunctionDef]:
    """All of the package, by dotted name without `twistedkv.`."""
    return {
        ".".join((*path.relative_to(PACKAGE).with_suffix("").parts, *qualified)): node
        for path in sorted(PACKAGE.rglob("*.py"))
        for qualified, node in _functions(ast.parse(path.read_text("utf-8")), ())
    }


def decoders() -> set[str]:
    """The names of those that take something apart, but for OUTSIDE."""
    return {
        name
        for name, node in functions().items()
        if _decodes(node) and not any(f"{name}.".startswith(f"{outside}.") for outside in OUTSIDE)
    }


def _functions(tree: ast.AST, within: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], ast.FunctionDef]]:
    """Functions and methods with their names, those inside functions as part of them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, (*within, node.name))
        elif isinstance(node, ast.FunctionDef):
            yield (*within, node.name), node
        elif not isinstance(node, ast.AsyncFunctionDef):
            yield from _functions(node, within)


def _decodes(function: ast.FunctionDef) -> bool:
    if _NAMES.fullmatch(function.name):
        return any(not isinstance(statement, ast.Expr) for statement in function.body)  # not that of a Protocol class
    return any(isinstance(node, ast.Call) and _is_decoding(node) for node in ast.walk(function))


def _is_decoding(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in _CALLS
    if not isinstance(call.func, ast.Attribute):
        return False
    if call.func.attr == "decode":
        # Of a layout or a family. That of bytes has the name of an encoding, or nothing.
        return bool(call.args) and not isinstance(call.args[0], ast.Constant)
    return call.func.attr in _CALLS or ast.unparse(call.func) == "tomllib.load"
