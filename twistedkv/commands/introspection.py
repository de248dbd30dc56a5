"""What COMMAND tells about the commands, and HELP about the subcommands of one."""

from __future__ import annotations

from collections.abc import Iterator

from twistedkv.commands.arguments import SYNTAX, word_of
from twistedkv.commands.command import FLAGS, Command, KeySpec
from twistedkv.commands.patterns import pattern_of
from twistedkv.commands.syntax import Argument, arguments_of
from twistedkv.commands.table import COMMANDS, check_keys, keys_of, lookup
from twistedkv.errors import CommandError
from twistedkv.resp.replies import array, bulk, bulks, flags, integer, mapping, nil, simple

SHOWN = {name: command for name, command in COMMANDS.items() if "internal" not in command.flags}
"""The commands that clients hear of."""


def command_reply(argv: list[bytes], protocol: int) -> bytes:
    """The reply to COMMAND or one of its subcommands, with a number of arguments that `lookup` has checked."""
    names = argv[2:]
    match argv[1].upper() if len(argv) > 1 else b"INFO":
        case b"INFO":
            found = [named(name) for name in names] if names else list(SHOWN.values())
            return array([nil(protocol) if one is None else info(one, protocol) for one in found])
        case b"COUNT":
            return integer(len(SHOWN))
        case b"LIST":
            return bulks(_listed(names))
        case b"DOCS":
            chosen = [named(name) for name in names] if names else list(SHOWN.values())
            return mapping({one.name: docs(one, protocol) for one in chosen if one is not None}, protocol)
        case b"GETKEYS":
            return bulks(key for key, _ in _keys(names))
        case b"GETKEYSANDFLAGS":
            return array([array([bulk(key), _names(happens, protocol)]) for key, happens in _keys(names)])
    return help_reply(b"COMMAND")


def named(name: bytes) -> Command | None:
    """The command, or `command|subcommand`, of this name."""
    container, _, subcommand = name.upper().partition(b"|")
    command = SHOWN.get(container)
    if command is None or b"|" not in name:
        return command
    return command.subcommands.get(subcommand)


def info(command: Command, protocol: int) -> bytes:
    """The entry of COMMAND INFO."""
    return array(
        [
            bulk(command.name),
            integer(command.arity),
            _names([flag for flag in FLAGS if flag in command.flags], protocol),
            integer(command.first),
            integer(command.last),
            integer(command.step),
            _names([f"@{category}" for category in command.categories], protocol),
            _set([bulk(tip.encode()) for tip in command.tips], protocol),
            _set([_spec(spec, protocol) for spec in command.specs], protocol),
            array([info(one, protocol) for one in command.subcommands.values()])
            if command.subcommands
            else _set([], protocol),
        ]
    )


def docs(command: Command, protocol: int) -> bytes:
    """The entry of COMMAND DOCS."""
    pairs = {
        b"summary": bulk(command.summary.encode()),
        b"since": bulk(command.since.encode()),
        b"group": bulk(command.group.encode()),
    }
    if command.arguments:
        pairs[b"arguments"] = array([_argument(one, protocol) for one in arguments_of(command.arguments)])
    if command.subcommands:
        entries = {one.name: docs(one, protocol) for one in command.subcommands.values()}
        pairs[b"subcommands"] = mapping(entries, protocol)
    return mapping(pairs, protocol)


def help_reply(container: bytes) -> bytes:
    """The reply to HELP of a command with subcommands, by its upper-case name: lines for people."""
    lines = [container + b" <subcommand> [<arg> ...]. Subcommands are:"]
    for name, one in COMMANDS[container].subcommands.items():
        lines += [name + (b" " + one.arguments.encode() if one.arguments else b""), b"    " + one.summary.encode()]
    return array([simple(line) for line in lines])


def _set(parts: list[bytes], protocol: int) -> bytes:
    return b"%b%d\r\n%b" % (b"~" if protocol == 3 else b"*", len(parts), b"".join(parts))


def _names(names: list[str] | tuple[str, ...], protocol: int) -> bytes:
    return flags([name.encode() for name in names], protocol)


def _spec(spec: KeySpec, protocol: int) -> bytes:
    places = {b"lastkey": integer(spec.last), b"keystep": integer(spec.step), b"limit": integer(0)}
    begin = {b"type": bulk(b"index"), b"spec": mapping({b"index": integer(spec.begin)}, protocol)}
    find = {b"type": bulk(b"range"), b"spec": mapping(places, protocol)}
    return mapping(
        {
            b"flags": _names(spec.flags, protocol),
            b"begin_search": mapping(begin, protocol),
            b"find_keys": mapping(find, protocol),
        },
        protocol,
    )


def _argument(argument: Argument, protocol: int) -> bytes:
    pairs = {b"name": bulk(argument.name.encode()), b"type": bulk(argument.type.encode())}
    if argument.type == "key":
        pairs[b"key_spec_index"] = integer(argument.spec)
    if argument.token:
        pairs[b"token"] = bulk(argument.token.encode())
    marks = [name for name, is_set in (("optional", argument.optional), ("multiple", argument.multiple)) if is_set]
    if marks:
        pairs[b"flags"] = _names(marks, protocol)
    if argument.parts:
        pairs[b"arguments"] = array([_argument(part, protocol) for part in argument.parts])
    return mapping(pairs, protocol)


def _listed(options: list[bytes]) -> Iterator[bytes]:
    """The names that COMMAND LIST has to show."""
    everything = [one for command in SHOWN.values() for one in (command, *command.subcommands.values())]
    if not options:
        return (one.name for one in everything)
    if len(options) != 3 or word_of(options[0]) != b"FILTERBY":
        raise CommandError(SYNTAX)
    match word_of(options[1]):
        case b"MODULE":
            return iter(())
        case b"ACLCAT":
            category = options[2].lower().decode("utf-8", "replace")
            return (one.name for one in everything if category in one.categories)
        case b"PATTERN":
            matches = pattern_of(options[2].lower()).fullmatch
            return (one.name for one in everything if matches(one.name))
    raise CommandError(SYNTAX)


def _keys(argv: list[bytes]) -> list[tuple[bytes, tuple[str, ...]]]:
    """The keys of a whole command, each with what happens to it."""
    try:
        command = lookup(argv)
    except CommandError as error:
        known = COMMANDS.get(argv[0].upper())
        if known is not None and known.subcommands and len(argv) > 1 and known.name != b"debug":
            known = known.subcommands.get(argv[1].upper())
        if known is None or "internal" in known.flags:
            raise CommandError("ERR Invalid command specified") from error
        if not known.specs:
            raise CommandError("ERR The command has no key arguments") from error
        raise CommandError("ERR Invalid number of arguments specified for command") from error
    if not command.specs:
        raise CommandError("ERR The command has no key arguments")
    check_keys(command, argv)
    if len(command.specs) > 1:
        return [(argv[spec.begin], spec.flags) for spec in command.specs]
    happens = command.specs[0].flags
    if "variable_flags" in happens:  # SET reads the value only if it is asked to
        happens = ("RW", "access", "update") if b"GET" in map(word_of, argv[3:]) else ("OW", "update")
    return [(key, happens) for key in keys_of(command, argv)]
