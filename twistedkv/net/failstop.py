"""A server whose store has failed says nothing more (I15).

An update that was given a sequence and then could not be stored leaves the copy with a hole that nobody would notice:
it may already be in the log that goes to the others. So whatever brings data to the core is decorated with `fail_stop`,
and the process ends in that very call, before it can acknowledge or answer anything. It is replaced and filled as any
process that has died. Memory that has run out counts as well: where it struck is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from twistedkv.errors import StorageFailed

if TYPE_CHECKING:
    from twistedkv.service.server import ServerService


class _OfServer(Protocol):
    _server: ServerService


P = ParamSpec("P")
S = TypeVar("S", bound=_OfServer)

STORAGE_ERRORS = (StorageFailed, MemoryError)


def fail_stop(method: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """Decorates a method of something that belongs to a `_server`."""

    @wraps(method)
    def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except STORAGE_ERRORS as error:
            self._server.storage_failed(error)

    return guarded
