"""Code that is put around methods for the time of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(place: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """`place.name` is `make(what it was)` meanwhile."""
    original = getattr(place, name)
    setattr(place, name, make(original))
    try:
        yield
    finally:
        setattr(place, name, original)


def followed(place: Any, name: str, then: Callable[..., None]) -> Any:
    """As `replaced`: each call of the method is followed by `then(result, *arguments)`."""

    def make(original: Any) -> Any:
        def method(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            then(result, *args)
            return result

        return method

    return replaced(place, name, make)
