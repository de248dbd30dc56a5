"""The table of the commands about connections, servers and the cluster, most of which no shard executes."""

from __future__ import annotations

from twistedkv.commands import keys, scanning
from twistedkv.commands.command import Command, commands_of

_CONNECTION = """
HELLO -1 noscript loading stale fast no_auth allow_busy ; connection ; ; 6.0.0
    [protover [AUTH username password] [SETNAME clientname]] ; Choose the version of the protocol
AUTH -2 noscript loading stale fast no_auth allow_busy ; connection ; ; 1.0.0
    [username] password ; Give a password
PING -1 fast ; connection ; ; 1.0.0 ; request:all_shards response:all_succeeded
    [message] ; Answer PONG, or the message
ECHO 2 loading stale fast ; connection ; ; 1.0.0
    message ; Answer the message
SELECT 2 loading stale fast ; connection ; ; 1.0.0
    index ; Choose the database: 0 is the only one
QUIT -1 noscript loading stale fast no_auth allow_busy ; connection ; ; 1.0.0
    ; Close the connection
RESET 1 noscript loading stale fast no_auth allow_busy ; connection ; ; 6.2.0
    ; Begin anew on this connection
CLIENT -2 ; ; ; 2.4.0
    ; This connection and the others
CLIENT ID 2 noscript loading stale ; connection ; ; 5.0.0
    ; The number of this connection
CLIENT INFO 2 noscript loading stale ; connection ; ; 6.2.0 ; nondeterministic_output
    ; A line about this connection
CLIENT LIST -2 admin noscript loading stale ; connection ; ; 2.4.0 ; nondeterministic_output
    [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]] ; A line for each connection
CLIENT SETNAME 3 noscript loading stale ; connection ; ; 2.6.9
    connection-name ; Give this connection a name
CLIENT GETNAME 2 noscript loading stale ; connection ; ; 2.6.9
    ; The name of this connection
CLIENT SETINFO 4 noscript loading stale ; connection ; ; 7.2.0
    <LIB-NAME libname | LIB-VER libver> ; Say which client library this is
CLIENT NO-EVICT 3 admin noscript loading stale ; connection ; ; 7.0.0
    <ON | OFF> ; Keep this connection when memory is short
CLIENT HELP 2 loading stale ; connection ; ; 5.0.0
    ; The subcommands
"""

_SERVER = """
COMMAND -1 loading stale ; connection ; ; 2.8.13 ; nondeterministic_output_order
    ; All commands
COMMAND COUNT 2 loading stale ; connection ; ; 2.8.13
    ; How many commands there are
COMMAND DOCS -2 loading stale ; connection ; ; 7.0.0 ; nondeterministic_output_order
    [command-name [command-name ...]] ; What commands do and how they are written
COMMAND GETKEYS -4 loading stale ; connection ; ; 2.8.13
    command arg [arg ...] ; Which arguments of a command are keys
COMMAND GETKEYSANDFLAGS -4 loading stale ; connection ; ; 7.0.0
    command arg [arg ...] ; Which arguments of a command are keys, and what happens to them
COMMAND INFO -2 loading stale ; connection ; ; 2.8.13 ; nondeterministic_output_order
    [command-name [command-name ...]] ; Facts about commands that programs use
COMMAND LIST -2 loading stale ; connection ; ; 7.0.0 ; nondeterministic_output_order
    [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>] ; The names of the commands
COMMAND HELP 2 loading stale ; connection ; ; 5.0.0
    ; The subcommands
CONFIG -2 ; ; ; 2.0.0
    ; Settings
CONFIG GET -3 admin noscript loading stale ; ; ; 2.0.0
    parameter [parameter ...] ; Settings that match patterns
CONFIG RESETSTAT 2 admin noscript loading stale ; ; ; 2.0.0
    ; Count from zero what INFO shows
CONFIG HELP 2 loading stale ; ; ; 5.0.0
    ; The subcommands
DBSIZE 1 readonly fast ; keyspace ; ; 1.0.0 ; request:all_shards response:agg_sum
    ; How many keys there are
DEBUG -2 admin noscript loading stale ; ; ; 1.0.0
    ; For tests
DEBUG SLEEP 3 admin noscript loading stale ; ; ; 1.0.0
    seconds ; Answer nobody for so long
DEBUG HELP 2 admin noscript loading stale ; ; ; 5.0.0
    ; The subcommands
FLUSHALL -1 write ; keyspace dangerous ; ; 1.0.0 ; request:all_shards response:all_succeeded
    [ASYNC | SYNC] ; Remove all keys
FLUSHDB -1 write ; keyspace dangerous ; ; 1.0.0 ; request:all_shards response:all_succeeded
    [ASYNC | SYNC] ; Remove all keys
INFO -1 loading stale ; dangerous ; ; 1.0.0 ; nondeterministic_output request:all_shards response:special
    [section [section ...]] ; What this server is and does
LATENCY -2 ; ; ; 2.8.13
    ; Times that took long
LATENCY LATEST 2 admin noscript loading stale ; ; ; 2.8.13 ; nondeterministic_output request:all_nodes response:special
    ; The latest long time of each kind
LATENCY HISTORY 3 admin noscript loading stale ; ; ; 2.8.13 ; nondeterministic_output request:all_nodes response:special
    event ; The long times of one kind
LATENCY RESET -2 admin noscript loading stale ; ; ; 2.8.13 ; request:all_nodes response:all_succeeded
    [event [event ...]] ; Forget long times
LATENCY DOCTOR 2 admin noscript loading stale ; ; ; 2.8.13 ; nondeterministic_output request:all_nodes response:special
    ; A report for people
LATENCY HELP 2 loading stale ; ; ; 2.8.13
    ; The subcommands
LOLWUT -1 readonly fast ; ; ; 5.0.0
    [VERSION version] ; A picture
MEMORY -2 ; ; ; 4.0.0
    ; Memory and its use
MEMORY USAGE -3 readonly ; ; 2 RO ; 4.0.0
    key [SAMPLES count] ; About how many bytes a key with its value costs
MEMORY DOCTOR 2 ; ; ; 4.0.0 ; nondeterministic_output request:all_shards response:special
    ; A report for people
MEMORY STATS 2 ; ; ; 4.0.0 ; nondeterministic_output request:all_shards response:special
    ; Where the memory is
MEMORY HELP 2 loading stale ; ; ; 4.0.0
    ; The subcommands
ROLE 1 noscript loading stale fast ; admin dangerous ; ; 2.8.12
    ; What this server is for others
SLOWLOG -2 ; ; ; 2.2.12
    ; Commands that took long
SLOWLOG GET -2 admin loading stale ; ; ; 2.2.12 ; request:all_nodes nondeterministic_output
    [count] ; The latest slow commands
SLOWLOG LEN 2 admin loading stale ; ; ; 2.2.12 ; request:all_nodes response:agg_sum nondeterministic_output
    ; How many slow commands are remembered
SLOWLOG RESET 2 admin loading stale ; ; ; 2.2.12 ; request:all_nodes response:all_succeeded
    ; Forget the slow commands
SLOWLOG HELP 2 loading stale ; ; ; 6.2.0
    ; The subcommands
TIME 1 loading stale fast ; ; ; 2.6.0 ; nondeterministic_output
    ; The time of this server
"""

_CLUSTER = """
ASKING 1 fast ; connection ; ; 3.0.0
    ; Let the next command be answered by a server that is about to get its slot
READONLY 1 loading stale fast ; connection ; ; 3.0.0
    ; Allow reads from copies
READWRITE 1 loading stale fast ; connection ; ; 3.0.0
    ; Take READONLY back
CLUSTER -2 ; ; ; 3.0.0
    ; The slots and who has them
CLUSTER SLOTS 2 stale ; ; ; 3.0.0 ; nondeterministic_output
    ; Ranges of slots and their servers
CLUSTER SHARDS 2 stale ; ; ; 7.0.0 ; nondeterministic_output
    ; Shards and their servers
CLUSTER NODES 2 stale ; ; ; 3.0.0 ; nondeterministic_output
    ; A line for each server
CLUSTER INFO 2 stale ; ; ; 3.0.0 ; nondeterministic_output
    ; How the cluster is
CLUSTER KEYSLOT 3 stale ; ; ; 3.0.0
    key ; The slot of a key
CLUSTER MYID 2 stale ; ; ; 3.0.0
    ; The name of this server
CLUSTER COUNTKEYSINSLOT 3 stale ; ; ; 3.0.0
    slot ; How many keys a slot has
CLUSTER GETKEYSINSLOT 4 stale ; ; ; 3.0.0 ; nondeterministic_output
    slot count ; Some keys of a slot
CLUSTER HELP 2 loading stale ; ; ; 5.0.0
    ; The subcommands
"""

_TRANSACTIONS = """
MULTI 1 noscript loading stale fast allow_busy ; transaction ; ; 1.2.0
    ; Begin a transaction
EXEC 1 noscript loading stale skip_slowlog ; transaction ; ; 1.2.0
    ; Execute the commands of the transaction
DISCARD 1 noscript loading stale fast allow_busy ; transaction ; ; 2.0.0
    ; Drop the transaction
WATCH -2 noscript loading stale fast allow_busy ; transaction ; 1:-1 RO ; 2.2.0
    key [key ...] ; Let the next transaction fail when one of these keys changes before it
UNWATCH 1 noscript loading stale fast allow_busy ; transaction ; ; 2.2.0
    ; Forget the watched keys
"""

TABLE: dict[bytes, Command] = {
    **commands_of("connection", _CONNECTION, {}),
    **commands_of("server", _SERVER, {"DBSIZE": scanning.dbsize, "MEMORY USAGE": keys.memory_usage}),
    **commands_of(
        "cluster",
        _CLUSTER,
        {"CLUSTER COUNTKEYSINSLOT": scanning.countkeysinslot, "CLUSTER GETKEYSINSLOT": scanning.getkeysinslot},
    ),
    **commands_of("transactions", _TRANSACTIONS, {}),
}
