"""The table of the commands that Redis does not have."""

from __future__ import annotations

from twistedkv.commands import own, scanning, strings
from twistedkv.commands.command import Command, commands_of

_OWN = """
PUT -3 write denyoom fast ; string ; 1 OW update ; 0.1.0
    key value [count] ; Store a value
GETV 2 readonly fast ; string ; 1 RO access ; 0.1.0
    key ; A value and its version
CAS 4 write denyoom fast ; string ; 1 RW update ; 0.1.0
    key version value ; Store a value if its key has this version (0: is not there)
VERIFY 3 readonly ; string ; 1 RO access ; 0.1.0
    key value ; Compare a value on all copies of its shard
G -2 readonly fast ; string ; 1 RO access ; 0.1.0
    key [value [count]] ; Of a workload: the value of a key
P -3 write denyoom fast ; string ; 1 OW update ; 0.1.0
    key value [count] ; Of a workload: store a value
V -3 readonly fast ; string ; 1 RO access ; 0.1.0
    key value [count] ; Of a workload: the value must be this one (a single space: no such key)
C -3 readonly fast ; string ; 1 RO access ; 0.1.0
    key value [count] ; Of a workload: the same as V
0 -1 readonly fast ; string ; 1 RO ; 0.1.0
    [key [value [count]]] ; Of a workload: answer OK
VERSIONS -2 readonly internal ; string ; 1:-1 RO ; 0.1.0
    key [key ...] ; The versions of keys
FLUSHSLOTS 2 write internal ; keyspace dangerous ; ; 0.1.0
    cursor ; Remove a page of keys
"""

TABLE: dict[bytes, Command] = commands_of(
    "twistedkv",
    _OWN,
    {
        "PUT": own.put,
        "GETV": own.getv,
        "CAS": own.cas,
        "G": strings.get,
        "P": own.put,
        "V": own.check,
        "C": own.check,
        "0": own.noop,
        "VERSIONS": own.versions,
        "FLUSHSLOTS": scanning.flushslots,
    },
)
