"""The table of the commands for values and keys. The figures are facts of Redis 7.0, the words are ours."""

from __future__ import annotations

from twistedkv.commands import expiry, keys, numbers, scanning, similarity, strings
from twistedkv.commands.command import Command, commands_of

_STRINGS = """
GET 2 readonly fast ; string ; 1 RO access ; 1.0.0
    key ; The value of a key
SET -3 write denyoom ; string ; 1 RW access update variable_flags ; 1.0.0
    key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds |
    KEEPTTL]
        ; Store a value, on a condition or with an expiry if wanted
GETSET 3 write denyoom fast ; string ; 1 RW access update ; 1.0.0
    key value ; Store a value and return the one before
GETDEL 2 write fast ; string ; 1 RW access delete ; 6.2.0
    key ; Return a value and remove its key
GETEX -2 write fast ; string ; 1 RW access update ; 6.2.0
    key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]
        ; Return a value, and set or remove its expiry
SETNX 3 write denyoom fast ; string ; 1 OW insert ; 1.0.0
    key value ; Store a value if its key is not there yet
SETEX 4 write denyoom ; string ; 1 OW update ; 2.0.0
    key seconds value ; Store a value that expires after so many seconds
PSETEX 4 write denyoom ; string ; 1 OW update ; 2.6.0
    key milliseconds value ; Store a value that expires after so many milliseconds
MGET -2 readonly fast ; string ; 1:-1 RO access ; 1.0.0 ; request:multi_shard
    key [key ...] ; The values of several keys
MSET -3 write denyoom ; string ; 1:-1:2 OW update ; 1.0.1 ; request:multi_shard response:all_succeeded
    key value [key value ...] ; Store several values
MSETNX -3 write denyoom ; string ; 1:-1:2 OW insert ; 1.0.1 ; request:multi_shard response:agg_min
    key value [key value ...] ; Store several values if none of their keys is there yet
APPEND 3 write denyoom fast ; string ; 1 RW insert ; 2.0.0
    key value ; Add bytes at the end of a value
STRLEN 2 readonly fast ; string ; 1 RO ; 2.2.0
    key ; The length of a value in bytes
GETRANGE 4 readonly ; string ; 1 RO access ; 2.4.0
    key start end ; A part of a value, both ends included
SUBSTR 4 readonly ; string ; 1 RO access ; 1.0.0
    key start end ; The same as GETRANGE
SETRANGE 4 write denyoom ; string ; 1 RW update ; 2.2.0
    key offset value ; Overwrite a part of a value
INCR 2 write denyoom fast ; string ; 1 RW access update ; 1.0.0
    key ; Add one to a whole number
DECR 2 write denyoom fast ; string ; 1 RW access update ; 1.0.0
    key ; Take one from a whole number
INCRBY 3 write denyoom fast ; string ; 1 RW access update ; 1.0.0
    key increment ; Add to a whole number
DECRBY 3 write denyoom fast ; string ; 1 RW access update ; 1.0.0
    key decrement ; Take from a whole number
INCRBYFLOAT 3 write denyoom fast ; string ; 1 RW access update ; 2.6.0
    key increment ; Add to a number with decimals
LCS -3 readonly ; string ; 1:1 RO access ; 7.0.0
    key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN] ; The longest common subsequence of two values
"""

_KEYS = """
DEL -2 write ; keyspace ; 1:-1 RM delete ; 1.0.0 ; request:multi_shard response:agg_sum
    key [key ...] ; Remove keys
UNLINK -2 write fast ; keyspace ; 1:-1 RM delete ; 4.0.0 ; request:multi_shard response:agg_sum
    key [key ...] ; The same as DEL
EXISTS -2 readonly fast ; keyspace ; 1:-1 RO ; 1.0.0 ; request:multi_shard response:agg_sum
    key [key ...] ; How many of these keys are there
TOUCH -2 readonly fast ; keyspace ; 1:-1 RO ; 3.2.1 ; request:multi_shard response:agg_sum
    key [key ...] ; The same as EXISTS
TYPE 2 readonly fast ; keyspace ; 1 RO ; 1.0.0
    key ; The type of a value: string, or none
RENAME 3 write ; keyspace ; 1 RW access delete / 2 OW update ; 1.0.0
    key newkey ; Give a value to another key
RENAMENX 3 write fast ; keyspace ; 1 RW access delete / 2 OW insert ; 1.0.0
    key newkey ; Give a value to another key that is not there yet
COPY -3 write denyoom ; keyspace ; 1 RO access / 2 OW update ; 6.2.0
    source destination [DB destination-db] [REPLACE] ; Store the value of a key under another one too
EXPIRE -3 write fast ; keyspace ; 1 RW update ; 1.0.0
    key seconds [NX | XX | GT | LT] ; Let a key expire after so many seconds
PEXPIRE -3 write fast ; keyspace ; 1 RW update ; 2.6.0
    key milliseconds [NX | XX | GT | LT] ; Let a key expire after so many milliseconds
EXPIREAT -3 write fast ; keyspace ; 1 RW update ; 1.2.0
    key unix-time-seconds [NX | XX | GT | LT] ; Let a key expire at a moment, in seconds since 1970
PEXPIREAT -3 write fast ; keyspace ; 1 RW update ; 2.6.0
    key unix-time-milliseconds [NX | XX | GT | LT] ; Let a key expire at a moment, in milliseconds since 1970
TTL 2 readonly fast ; keyspace ; 1 RO access ; 1.0.0 ; nondeterministic_output
    key ; Seconds until a key expires (-1: never, -2: no such key)
PTTL 2 readonly fast ; keyspace ; 1 RO access ; 2.6.0 ; nondeterministic_output
    key ; Milliseconds until a key expires (-1: never, -2: no such key)
EXPIRETIME 2 readonly fast ; keyspace ; 1 RO access ; 7.0.0
    key ; When a key expires, in seconds since 1970
PEXPIRETIME 2 readonly fast ; keyspace ; 1 RO access ; 7.0.0
    key ; When a key expires, in milliseconds since 1970
PERSIST 2 write fast ; keyspace ; 1 RW update ; 2.2.0
    key ; Let a key never expire
SCAN -2 readonly ; keyspace ; ; 2.8.0 ; nondeterministic_output request:special
    cursor [MATCH pattern] [COUNT count] [TYPE type] ; A page of the keys, and the cursor of the next page
KEYS 2 readonly ; keyspace dangerous ; ; 1.0.0 ; request:all_shards nondeterministic_output_order
    pattern ; All keys that match a pattern
RANDOMKEY 1 readonly ; keyspace ; ; 1.0.0 ; request:all_shards nondeterministic_output
    ; Any key
OBJECT -2 ; ; ; 2.2.3
    ; How a value is kept
OBJECT ENCODING 3 readonly ; keyspace ; 2 RO ; 2.2.3 ; nondeterministic_output
    key ; What Redis calls the form of a value
OBJECT REFCOUNT 3 readonly ; keyspace ; 2 RO ; 2.2.3 ; nondeterministic_output
    key ; How often a value is shared: once
OBJECT FREQ 3 readonly ; keyspace ; 2 RO ; 4.0.0 ; nondeterministic_output
    key ; How often a key is accessed: not counted
OBJECT IDLETIME 3 readonly ; keyspace ; 2 RO ; 2.2.3 ; nondeterministic_output
    key ; When a key was last accessed: not known
OBJECT HELP 2 loading stale ; keyspace ; ; 6.2.0
    ; The subcommands
WAIT 3 noscript ; connection ; ; 3.0.0 ; request:all_shards response:agg_min
    numreplicas timeout ; How many further copies have the last write
"""

TABLE: dict[bytes, Command] = {
    **commands_of(
        "string",
        _STRINGS,
        {
            "GET": strings.get,
            "SET": strings.set_value,
            "GETSET": strings.getset,
            "GETDEL": strings.getdel,
            "GETEX": strings.getex,
            "SETNX": strings.setnx,
            "SETEX": strings.setex,
            "PSETEX": strings.psetex,
            "MGET": strings.mget,
            "MSET": strings.mset,
            "MSETNX": strings.msetnx,
            "APPEND": strings.append,
            "STRLEN": strings.strlen,
            "GETRANGE": strings.getrange,
            "SUBSTR": strings.getrange,
            "SETRANGE": strings.setrange,
            "INCR": numbers.incr,
            "DECR": numbers.decr,
            "INCRBY": numbers.incrby,
            "DECRBY": numbers.decrby,
            "INCRBYFLOAT": numbers.incrbyfloat,
            "LCS": similarity.lcs,
        },
    ),
    **commands_of(
        "generic",
        _KEYS,
        {
            "DEL": keys.delete,
            "UNLINK": keys.delete,
            "EXISTS": keys.exists,
            "TOUCH": keys.exists,
            "TYPE": keys.type_of,
            "RENAME": keys.rename,
            "RENAMENX": keys.renamenx,
            "COPY": keys.copy,
            "EXPIRE": expiry.expire,
            "PEXPIRE": expiry.pexpire,
            "EXPIREAT": expiry.expireat,
            "PEXPIREAT": expiry.pexpireat,
            "TTL": expiry.ttl,
            "PTTL": expiry.pttl,
            "EXPIRETIME": expiry.expiretime,
            "PEXPIRETIME": expiry.pexpiretime,
            "PERSIST": expiry.persist,
            "SCAN": scanning.scan,
            "KEYS": scanning.keys,
            "RANDOMKEY": scanning.randomkey,
            "OBJECT ENCODING": keys.object_encoding,
            "OBJECT REFCOUNT": keys.object_refcount,
            "OBJECT FREQ": keys.object_freq,
            "OBJECT IDLETIME": keys.object_idletime,
        },
    ),
}
