"""Options as knobs: how a value is read from a flag or a TOML file, and what is said when it is wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from twistedkv.errors import ConfigurationError

DEFAULT_PORT = 7400


@attrs.frozen
class Knob:
    """One option: its name (as a flag `--name`, in a file `name`), and how its value is read and checked."""

    name: str
    read: Callable[[Any], Any]
    """From a flag's text or a TOML value. Raises ValueError, whose text says what is expected."""
    help: str
    flag: bool = False
    """Takes no value on the command line."""
    short: str | None = None

    @property
    def key(self) -> str:
        """The attribute of the options."""
        return self.name.replace("-", "_")


def integer(least: int, most: int) -> Callable[[Any], int]:
    expected = f"a whole number from {least} to {most}"

    def read(value: Any) -> int:
        if isinstance(value, str):
            try:
                value = int(value)
            except ValueError:
                raise ValueError(expected) from None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(expected)
        return value

    return read


def seconds(least: float, most: float) -> Callable[[Any], float]:
    expected = f"a number of seconds from {least:g} to {most:g}"

    def read(value: Any) -> float:
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise ValueError(expected) from None
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(expected)
        return float(value)

    return read


def text(expected: str, most: int, *, least: int = 1) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not least <= len(value.encode()) <= most or not value.isprintable():
            raise ValueError(expected)
        return value

    return read


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(" or ".join(words))
        return str(value)

    return read


def path(value: Any) -> Path:
    try:
        if isinstance(value, str) and value and "\0" not in value:
            return Path(value).expanduser()
    except RuntimeError:  # of a user who has no home
        pass
    raise ValueError("a path")


def address(value: Any) -> tuple[str, int]:
    """`host:port`, `[v6 address]:port`, or a host alone (then the default port). Raises ValueError."""
    expected = 'host:port, as in "127.0.0.1:7400"'
    if not isinstance(value, str) or not value.strip():
        raise ValueError(expected)
    text = value.strip()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(expected)
        port = rest[1:]
    else:
        host, _, port = text.partition(":")
    if not host or ":" in port:
        raise ValueError(expected)
    try:
        number = int(port) if port else DEFAULT_PORT
    except ValueError:
        raise ValueError(expected) from None
    if not 1 <= number <= 65535:
        raise ValueError(expected)
    return host, number


def read_file(path: Path, knobs: tuple[Knob, ...]) -> dict[str, Any]:
    """The values in a TOML file, checked, by key. Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also what is UTF-8 no more, a number too long, or nested too deep
        raise ConfigurationError(f"{path}: is not valid TOML: {error}") from error
    by_name = {knob.name: knob for knob in knobs}
    values = {}
    for name, value in table.items():
        knob = by_name.get(name)
        if knob is None:
            known = ", ".join(sorted(by_name))
            raise ConfigurationError(f"{path}: {name}: there is no such key, expected one of {known}")
        values[knob.key] = _checked(knob, value, f"{path}: {name}")
    return values


def read_flags(given: Mapping[str, Any], knobs: tuple[Knob, ...]) -> dict[str, Any]:
    """The values given on the command line (None or False: not given), checked, by key.

    Raises ConfigurationError.
    """
    values: dict[str, Any] = {}
    for knob in knobs:
        value = given.get(knob.name)
        if knob.flag:
            if value:
                values[knob.key] = True
        elif value is not None:
            values[knob.key] = _checked(knob, value, f"--{knob.name}")
    return values


def _checked(knob: Knob, value: Any, where: str) -> Any:
    try:
        return knob.read(value)
    except ValueError as error:
        raise ConfigurationError(f"{where}: expected {error}, got {value!r}") from None


def read_options(given: Mapping[str, Any], knobs: tuple[Knob, ...], file: str | None) -> dict[str, Any]:
    """The values that flags (by name) and perhaps a TOML file give, checked, by key. Raises ConfigurationError."""
    values = read_file(Path(file), knobs) if file else {}
    values.update(read_flags(given, knobs))
    return values
