"""What callers may give: addresses, keys, values, numbers. Everything is checked before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address

from twistedkv.errors import InvalidRequest
from twistedkv.limits import KEY_BYTES_MAX, SCAN_KEYS_MAX, VALUE_BYTES_MAX

DEFAULT_PORT = 7400
_U64_MAX = 2**64 - 1
_I64_MAX = 2**63 - 1


def parse_addresses(coordinator: str | Sequence[str]) -> list[tuple[str, int]]:
    """`HOST:PORT`, `HOST`, `[IPv6]:PORT`, or several of them, as (host, port). Raises InvalidRequest."""
    texts = [coordinator] if isinstance(coordinator, str) else list(coordinator)
    if not texts:
        raise InvalidRequest("no coordinator was given: expected an address such as 127.0.0.1:7400")
    return [_parse_address(text) for text in texts]


def _parse_address(text: str) -> tuple[str, int]:
    text = text.strip()
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or _is_ipv6(text):
        host, port = text, str(DEFAULT_PORT)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or not (port.isascii() and port.isdigit() and len(port) <= 9 and 0 < int(port) < 65536):
        raise InvalidRequest(f"{text!r} is no address: expected HOST:PORT, such as 127.0.0.1:{DEFAULT_PORT}")
    return host, int(port)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def check_key(key: object) -> None:
    """Raise InvalidRequest unless `key` is one."""
    if not isinstance(key, bytes):
        raise InvalidRequest(f"a key must be bytes, not {type(key).__name__}")
    if not 0 < len(key) <= KEY_BYTES_MAX:
        raise InvalidRequest(f"a key has 1 to {KEY_BYTES_MAX} bytes, this one has {len(key)}")


def check_value(value: object) -> None:
    """Raise InvalidRequest unless `value` can be stored."""
    if not isinstance(value, bytes):
        raise InvalidRequest(f"a value must be bytes, not {type(value).__name__}")
    if len(value) > VALUE_BYTES_MAX:
        raise InvalidRequest(f"a value has at most {VALUE_BYTES_MAX} bytes, this one has {len(value)}")


def check_keys(keys: Sequence[object]) -> None:
    """The same for many keys."""
    if _all_bytes(keys):
        sizes = list(map(len, keys))  # type: ignore[arg-type]
        if not sizes or (min(sizes) > 0 and max(sizes) <= KEY_BYTES_MAX):
            return
    for key in keys:
        check_key(key)


def check_values(values: Sequence[object]) -> None:
    """The same for many values."""
    if not _all_bytes(values) or max(map(len, values), default=0) > VALUE_BYTES_MAX:  # type: ignore[arg-type]
        for value in values:
            check_value(value)


def _all_bytes(values: Sequence[object]) -> bool:
    return set(map(type, values)) <= {bytes}


def check_version(version: object) -> None:
    """Raise InvalidRequest unless `version` can be a version, or 0 for no key."""
    if not isinstance(version, int) or not 0 <= version <= _U64_MAX:
        raise InvalidRequest(f"the expected version is an integer from 0 to 2**64-1, not {version!r}")


def check_delta(delta: object) -> None:
    """Raise InvalidRequest unless `delta` can be added."""
    if not isinstance(delta, int) or not -_I64_MAX - 1 <= delta <= _I64_MAX:
        raise InvalidRequest(f"delta is an integer from -2**63 to 2**63-1, not {delta!r}")


def check_deadline(seconds: object) -> None:
    """Raise InvalidRequest unless `seconds` can be waited."""
    if not isinstance(seconds, int | float) or not seconds > 0:
        raise InvalidRequest(f"a deadline is a positive number of seconds, not {seconds!r}")


def check_scan(prefix: object, page: object) -> None:
    """Raise InvalidRequest unless these can be scanned with."""
    if not isinstance(prefix, bytes) or len(prefix) > KEY_BYTES_MAX:
        raise InvalidRequest(f"a prefix is bytes, {KEY_BYTES_MAX} at most, not {prefix!r:.60}")
    if not isinstance(page, int) or not 0 < page <= SCAN_KEYS_MAX:
        raise InvalidRequest(f"a page has 1 to {SCAN_KEYS_MAX} keys, not {page!r}")
