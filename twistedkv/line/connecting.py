"""Commands about the connection itself."""

from __future__ import annotations

from twistedkv.commands.arguments import integer_of, small_integer_of, text_of, word_of
from twistedkv.errors import CommandError
from twistedkv.line.conversation import Conversation
from twistedkv.line.info import REDIS_VERSION
from twistedkv.resp import replies

_NO_PASSWORD = (
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
_WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled."
_SYNTAX = "ERR syntax error"


def ping(conversation: Conversation, argv: list[bytes]) -> bytes:
    """PING [message]"""
    if len(argv) > 2:
        raise CommandError("ERR wrong number of arguments for 'ping' command")
    return replies.bulk(argv[1]) if len(argv) == 2 else replies.PONG


def echo(conversation: Conversation, argv: list[bytes]) -> bytes:
    """ECHO message"""
    return replies.bulk(argv[1])


def hello(conversation: Conversation, argv: list[bytes]) -> bytes:
    """HELLO [protover [AUTH username password] [SETNAME clientname]]"""
    protocol = conversation.protocol
    if len(argv) > 1:
        try:
            protocol = integer_of(argv[1])
        except CommandError:
            raise CommandError("ERR Protocol version is not an integer or out of range") from None
        if protocol not in (2, 3):
            raise CommandError("NOPROTO unsupported protocol version")
        at = 2
        while at < len(argv):
            word = word_of(argv[at])
            if word == b"AUTH" and at + 2 < len(argv):
                _authenticate(argv[at + 1])
                at += 3
            elif word == b"SETNAME" and at + 1 < len(argv):
                conversation.name = _checked_name(argv[at + 1])  # stays, whatever is wrong with the rest
                at += 2
            else:
                raise CommandError(f"ERR Syntax error in HELLO option '{text_of(argv[at])}'")
    conversation.protocol = protocol
    return replies.mapping(
        {
            b"server": replies.bulk(b"redis"),
            b"version": replies.bulk(REDIS_VERSION.encode()),
            b"proto": replies.integer(protocol),
            b"id": replies.integer(conversation.number),
            b"mode": replies.bulk(b"cluster"),
            b"role": replies.bulk(b"master"),
            b"modules": replies.EMPTY_ARRAY,
        },
        protocol,
    )


def auth(conversation: Conversation, argv: list[bytes]) -> bytes:
    """AUTH [username] password: there are no passwords."""
    if len(argv) > 3:
        raise CommandError(_SYNTAX)
    if len(argv) == 2:
        raise CommandError(_NO_PASSWORD)
    _authenticate(argv[1])
    return replies.OK


def _authenticate(user: bytes) -> None:
    if user != b"default":
        raise CommandError(_WRONG_PASSWORD)


def select(conversation: Conversation, argv: list[bytes]) -> bytes:
    """SELECT index"""
    if small_integer_of(argv[1]) != 0:
        raise CommandError("ERR DB index is out of range")
    return replies.OK


def quit_(conversation: Conversation, argv: list[bytes]) -> bytes:
    """QUIT"""
    conversation.ending = True
    return replies.OK


def reset(conversation: Conversation, argv: list[bytes]) -> bytes:
    """RESET"""
    conversation.reset()
    return replies.simple(b"RESET")


def done(conversation: Conversation, argv: list[bytes]) -> bytes:
    """What has no effect here, and is no mistake: READONLY, READWRITE, ASKING, CONFIG RESETSTAT."""
    return replies.OK


# CLIENT.


def client_no_evict(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CLIENT NO-EVICT ON | OFF: nobody is cut off for the memory of others."""
    if word_of(argv[2]) not in (b"ON", b"OFF"):
        raise CommandError(_SYNTAX)
    return replies.OK


def client_id(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CLIENT ID"""
    return replies.integer(conversation.number)


def client_info(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CLIENT INFO"""
    return replies.text(_line_of(conversation) + b"\n", conversation.protocol)


def client_list(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CLIENT LIST [TYPE type] [ID client-id ...]"""
    everybody = conversation.desk.conversations
    chosen = list(everybody.values())
    if len(argv) > 2:
        word = argv[2].upper()
        if word == b"TYPE" and len(argv) == 4:
            kind = argv[3].lower()
            if kind not in (b"normal", b"master", b"replica", b"slave", b"pubsub"):
                raise CommandError(f"ERR Unknown client type '{argv[3].decode('utf-8', 'surrogateescape')}'")
            chosen = chosen if kind == b"normal" else []
        elif word == b"ID" and len(argv) > 3:
            numbers = []
            for each in argv[3:]:
                try:
                    numbers.append(integer_of(each))
                except CommandError:
                    raise CommandError("ERR Invalid client ID") from None
            chosen = [everybody[number] for number in numbers if number in everybody]
        else:
            raise CommandError(_SYNTAX)
    return replies.text(b"".join(_line_of(each) + b"\n" for each in chosen), conversation.protocol)


def _line_of(conversation: Conversation) -> bytes:
    now = conversation.desk.now()
    transaction = conversation.transaction
    fields = {
        b"id": conversation.number,
        b"addr": conversation.address,
        b"laddr": conversation.own_address,
        b"fd": 0,
        b"name": conversation.name.decode("utf-8", "surrogateescape"),
        b"age": int(now - conversation.begun_at),
        b"idle": int(now - conversation.heard_at),
        b"flags": "N" if transaction is None else "x",
        b"db": 0,
        b"sub": 0,
        b"psub": 0,
        b"ssub": 0,
        b"multi": -1 if transaction is None else transaction.length,
        b"omem": conversation.size,
        b"cmd": conversation.last_command.decode(),
        b"user": "default",
        b"redir": -1,
        b"resp": conversation.protocol,
        b"lib-name": conversation.library.decode("utf-8", "surrogateescape"),
        b"lib-ver": conversation.library_version.decode("utf-8", "surrogateescape"),
    }
    return b" ".join(key + b"=" + str(value).encode("utf-8", "surrogateescape") for key, value in fields.items())


def client_setname(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CLIENT SETNAME connection-name"""
    conversation.name = _checked_name(argv[2])
    return replies.OK


def _checked_name(name: bytes) -> bytes:
    if any(not 0x21 <= byte <= 0x7E for byte in name):
        raise CommandError("ERR Client names cannot contain spaces, newlines or special characters.")
    return name


def client_getname(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CLIENT GETNAME"""
    return replies.value_or_nil(conversation.name or None, conversation.protocol)


def client_setinfo(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CLIENT SETINFO LIB-NAME | LIB-VER value"""
    word = argv[2].upper()
    if any(not 0x21 <= byte <= 0x7E for byte in argv[3]):
        raise CommandError(f"ERR {word.decode().lower()} cannot contain spaces, newlines or special characters.")
    if word == b"LIB-NAME":
        conversation.library = argv[3]
    elif word == b"LIB-VER":
        conversation.library_version = argv[3]
    else:
        raise CommandError(f"ERR Unrecognized option '{argv[2].decode('utf-8', 'surrogateescape')}'")
    return replies.OK
