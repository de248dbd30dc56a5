"""The commands of operators (AdminRequest), by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList

from twistedkv.core import commands
from twistedkv.core.operations import Operation
from twistedkv.core.planner import Planner
from twistedkv.core.steps import Step
from twistedkv.errors import InvalidRequest, Status
from twistedkv.mapstore.interface import JOURNAL_PAGE
from twistedkv.messages.client import Result
from twistedkv.messages.coordinator import DumpPrimary, DumpSecondary
from twistedkv.net.coordinator import ClientSession

if TYPE_CHECKING:
    from twistedkv.service.coordinator import CoordinatorService

DUMP_SECONDS = 60.0
_EVENT_NUMBER_MAX = (1 << 63) - 1
"""Larger numbers are none to SQLite."""
_DIGITS_MAX = 9


class AdminCommands:
    """Answers operators."""

    def __init__(self, coordinator: CoordinatorService) -> None:
        self._coordinator = coordinator
        self._switching: dict[str, tuple[ClientSession, int, int, int, float]] = {}
        """By operation id: who asked, request id, shard, server, since when."""
        self._commands: dict[str, Callable[[ClientSession, int, dict[str, Any]], None]] = {
            "status": self._status,
            "map": self._map,
            "journal": self._journal,
            "switch": self._switch,
            "dump": self._dump,
            "accept-loss": self._accept_loss,
        }

    def execute(self, session: ClientSession, request_id: int, command: dict[str, Any]) -> None:
        """Do what is asked; the answer may come later."""
        name = command["command"].replace("_", "-")
        action = self._commands.get(name)
        if action is None:
            known = ", ".join(sorted(self._commands))
            session.fail(request_id, f"there is no command {name!r}: the commands are {known}", Status.UNSUPPORTED)
            return
        if self._coordinator.planner is None:
            sentence = "the coordinator is recovering from an error of its own: try again in a second"
            session.fail(request_id, sentence, Status.SERVER_FAILURE)
            return
        try:
            action(session, request_id, command)
        except InvalidRequest as error:
            session.fail(request_id, str(error))

    def forget(self, session: ClientSession) -> None:
        """The operator has gone."""
        for operation_id in [i for i, waiting in self._switching.items() if waiting[0] is session]:
            del self._switching[operation_id]

    def operation_ended(self, operation_id: str, error: str) -> None:
        """An operation that somebody may wait for has ended."""
        waiting = self._switching.pop(operation_id, None)
        if waiting is None:
            return
        session, request_id, shard, server, since = waiting
        if error:
            session.fail(request_id, f"shard {shard} was not switched: {error}", Status.SERVER_FAILURE)
        else:
            self._switched(session, request_id, shard, server, since)

    # The commands.

    def _status(self, session: ClientSession, request_id: int, command: dict[str, Any]) -> None:
        session.reply(request_id, self._coordinator.status())

    def _map(self, session: ClientSession, request_id: int, command: dict[str, Any]) -> None:
        session.reply(request_id, commands.map_json(self._coordinator.whole_map()))

    def _journal(self, session: ClientSession, request_id: int, command: dict[str, Any]) -> None:
        after = command.get("after", 0)
        if not isinstance(after, int) or isinstance(after, bool) or not 0 <= after <= _EVENT_NUMBER_MAX:
            raise InvalidRequest(f"after: expected the number of an event, got {after!r}")
        store = self._coordinator.store
        events = store.journal(after)
        if not command.get("follow"):
            session.reply(request_id, {"events": [event.as_json() for event in events]})
            return
        session.told = after
        while True:
            session.reply(request_id, {"events": [event.as_json() for event in events]})
            session.told = events[-1].number if events else session.told
            if len(events) < JOURNAL_PAGE:
                break
            events = store.journal(session.told)
        session.following = request_id

    def _switch(self, session: ClientSession, request_id: int, command: dict[str, Any]) -> None:
        shard = _number(command, "shard")
        server = server_number(command.get("server"))
        begun: list[Operation | None] = []

        def plan(planner: Planner, now: float) -> Step:
            operation, step = planner.switch(shard, server, now)
            begun.append(operation)
            return step

        now = self._coordinator.now()
        self._perform(plan)
        operation = begun[0]
        if operation is None:
            self._switched(session, request_id, shard, server, now)
        else:
            self._switching[operation.id] = (session, request_id, shard, server, now)

    def _perform(self, plan: Callable[[Planner, float], Step]) -> None:
        if not self._coordinator.perform(plan):
            raise InvalidRequest("the coordinator could not store that: try again in a second")

    def _switched(self, session: ClientSession, request_id: int, shard: int, server: int, since: float) -> None:
        configuration = self._coordinator.whole_map().shards[shard]
        milliseconds = (self._coordinator.now() - since) * 1000
        answer = {
            "shard": shard,
            "server": server,
            "epoch": configuration.epoch,
            "milliseconds": round(milliseconds, 3),
        }
        session.reply(request_id, answer)

    def _dump(self, session: ClientSession, request_id: int, command: dict[str, Any]) -> None:
        server_id = server_number(command.get("server"))
        server = self._coordinator.connections.servers.get(server_id)
        if server is None:
            raise InvalidRequest(f"server {server_id} is not connected: `twistedkv status` shows which are")
        deadline = self._coordinator.now() + DUMP_SECONDS
        asking = [server.ask(DumpPrimary(), deadline), server.ask(DumpSecondary(), deadline)]

        def dumped(results: list[tuple[bool, Any]]) -> None:
            files, errors = [], []
            for success, result in results:
                if not success:
                    errors.append(result.getErrorMessage())
                elif not isinstance(result, Result):
                    errors.append(f"a dump was answered with {type(result).__name__}")
                elif result.status != Status.SUCCESS:
                    errors.append(result.value.decode("utf-8", "replace"))
                else:
                    files.append(result.value.decode("utf-8", "replace"))
            if errors:
                session.fail(request_id, f"server {server_id}: {errors[0]}", Status.SERVER_FAILURE)
            else:
                session.reply(request_id, {"files": files})

        both: Deferred[Any] = DeferredList(asking, consumeErrors=True)
        both.addCallback(dumped)
        both.addErrback(self._coordinator.connections.unexpected)

    def _accept_loss(self, session: ClientSession, request_id: int, command: dict[str, Any]) -> None:
        which = command.get("shard")
        shard = None if which == "all" else _number(command, "shard")
        accepted: list[int] = []

        def plan(planner: Planner, now: float) -> Step:
            shards, step = planner.accept_loss(shard, now)
            accepted.extend(shards)
            return step

        self._perform(plan)
        session.reply(request_id, {"shards": accepted})


def _number(command: dict[str, Any], name: str) -> int:
    value = command.get(name)
    if isinstance(value, str) and value.isdecimal() and len(value) <= _DIGITS_MAX:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidRequest(f"{name}: expected a number, got {value!r:.100}")
    return value


def server_number(value: Any) -> int:
    """`2` or `server_2`. Raises InvalidRequest."""
    if isinstance(value, str):
        value = value.removeprefix("server_")
    return _number({"server": value}, "server")


def coordinator_json(address: str, generation: int, uptime_seconds: float) -> dict[str, Any]:
    """The part of `status` that is about the coordinator."""
    return {
        "address": address,
        "pid": os.getpid(),
        "generation": generation,
        "uptime_seconds": round(uptime_seconds, 3),
    }
