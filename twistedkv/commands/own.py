"""Commands that Redis does not have: values with their versions, and the verbs of the original system's workloads."""

from __future__ import annotations

from twistedkv.commands.arguments import check_value, integer_of
from twistedkv.commands.keyspace import Keyspace
from twistedkv.errors import CommandError
from twistedkv.resp.replies import OK, ONE, array, bulk, integer, nil_array

MISSING = b" "
"""In a workload, the value of a check that expects no such key."""


def put(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """PUT key value [count]. To store a value again and again leaves the same, so it is stored once."""
    check_value(argv[2])
    if len(argv) > 4:
        raise CommandError(f"ERR wrong number of arguments for '{argv[0].decode().lower()}' command")
    if len(argv) == 4 and integer_of(argv[3]) < 1:
        raise CommandError("ERR the count is at least 1")
    keyspace.put(argv[1], argv[2])
    return OK


def getv(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """GETV key: the value and its version."""
    value = keyspace.get(argv[1])
    return nil_array(protocol) if value is None else array([bulk(value), integer(keyspace.version(argv[1]))])


def cas(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """CAS key version value: store the value if the key has this version (0: is not there). It never expires then."""
    check_value(argv[3])
    expected = integer_of(argv[2])
    if expected < 0:
        raise CommandError("ERR a version is not negative")
    found = keyspace.version(argv[1])
    if found != expected:
        raise CommandError(f"VERSIONMISMATCH the key has version {found}, not {expected}")
    keyspace.put(argv[1], argv[3])
    return ONE


def versions(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """VERSIONS key [key ...]: of each the version, 0 if it is not there. What WATCH asks."""
    return array([integer(keyspace.version(key)) for key in argv[1:]])


def check(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """V key value, C key value: is this the value? A single space means that there is no such key."""
    found = keyspace.get(argv[1])
    if found == (None if argv[2] == MISSING else argv[2]):
        return OK
    expected = "no such key" if argv[2] == MISSING else _shown(argv[2])
    raise CommandError(
        f"ERR check failed: expected {expected}, found {'no such key' if found is None else _shown(found)}"
    )


def noop(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """0 [key]"""
    return OK


def _shown(value: bytes) -> str:
    """A value as far as an error line may quote it."""
    text = value[:64].decode("ascii", "backslashreplace")
    return f'"{text}"' if len(value) <= 64 else f'"{text}"... ({len(value)} bytes)'
