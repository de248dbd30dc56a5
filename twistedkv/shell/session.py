"""A conversation with whichever server of a cluster can be reached: it connects, asks, follows redirects and waits.

What a command came to is always said truthfully. Goals:

- A command is sent again only when its first sending certainly had no effect (it was refused with MOVED, ASK, TRYAGAIN
  or CLUSTERDOWN, or nothing was sent at all), or when it only reads. A write whose answer did not come ends in
  OutcomeUnknown, and is not sent a second time.
- What belongs to a connection (MULTI, WATCH) is never carried on silently over another one: the command that would have
  relied on it is not sent, or not sent again, and the user is told.

A connection on which an answer is missing is closed, because the next answer on it would be taken for another
command's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twistedkv.errors import NotDone, OutcomeUnknown
from twistedkv.limits import BACKOFF_SECONDS_MAX
from twistedkv.resp.answers import Answer, ErrorAnswer, PushAnswer
from twistedkv.shell.addresses import Redirect, addresses_of, redirect_of
from twistedkv.shell.link import Dial, Link, LinkLost
from twistedkv.shell.rendering import plain, text_of

DIAL_SECONDS = 2.0
"""Effect: how long one server may take to accept a connection."""
GREETING_SECONDS = 1.0
"""Effect: a server that answers nothing for so long at the beginning of a connection is left for another one."""
PATIENCE_SECONDS = 5.0
"""Effect: for so long a command is tried again in all. Longer than a failover takes."""
NOTICE_SECONDS = 2.0
"""Effect: when no answer has come for so long, the user is told."""
REDIRECTS_MAX = 16
_PAUSE_SECONDS_MIN = 0.05

_REDIRECTS = (b"MOVED", b"ASK")
_PASSING = (b"TRYAGAIN", b"CLUSTERDOWN", b"LOADING")
"""Errors of a command that was not executed, and may be in a moment."""
_STREAMS = {b"MONITOR", b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"SYNC", b"PSYNC"}

Words = Sequence[bytes]


class LineSession:
    """One session of the shell. `say` shows a remark, in one line, to the user; `say_redirect` one about a redirect."""

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        dial: Dial,
        say: Callable[[str], None],
        say_redirect: Callable[[str], None] | None = None,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        may_repeat: Callable[[Words], bool],
        protocol: int = 2,
        patience_seconds: float = PATIENCE_SECONDS,
        answer_seconds: float | None = None,
    ) -> None:
        self._given = list(addresses)
        self._known: list[str] = list(addresses)
        """Where to try, in this order: the servers given, then those that the cluster named."""
        self._dial = dial
        self._say = say
        self._say_redirect = say_redirect or say
        self._monotonic = monotonic
        self._sleep = sleep
        self._may_repeat = may_repeat
        self._protocol = protocol
        self._patience_seconds = patience_seconds
        self._answer_seconds = answer_seconds
        self._link: Link | None = None
        self._was_connected = False
        self._sent = False
        """Whether the command under way may have reached a server that has not answered it."""
        self.in_transaction = False
        self.watching = False

    @property
    def address(self) -> str:
        """The server that is asked next, empty when there is no connection."""
        return "" if self._link is None else self._link.address

    def connect(self) -> None:
        """Connect to the first server that answers, trying each once. Raises NotDone."""
        reasons = {}
        for address in list(self._known):
            try:
                self._link = self._greeted(address)
            except LinkLost as lost:
                reasons[address] = str(lost)
                continue
            if self._was_connected:
                self._say(f"connected to {address}")
            self._was_connected = True
            return
        raise NotDone("cannot connect to " + ", ".join(f"{address} ({why})" for address, why in reasons.items()))

    def close(self) -> None:
        """End the connection, and with it what only it knew."""
        if self._link is not None:
            self._link.close()
        self._link = None
        self.in_transaction = self.watching = False

    def run(self, words: Words) -> Answer:
        """The answer to a command, also one that says that it was refused.

        Raises NotDone when the command certainly had no effect, and OutcomeUnknown.
        """
        self._sent = False
        try:
            return self._run(words)
        except KeyboardInterrupt:
            why = f"given up before {self.address or 'a server'} answered"
            fate = self._fate(words, why) if self._sent else NotDone("given up; the command was not executed")
            if self._sent:
                self.close()
            raise (fate or NotDone(why)) from None

    def _run(self, words: Words) -> Answer:
        if words[0].upper() in _STREAMS:
            raise NotDone("this command has answers without end, which this shell does not read")
        patience = Patience(self._patience_seconds, self._monotonic, self._sleep, self._say)
        redirects = 0
        elsewhere: Redirect | None = None
        while True:
            self._be_connected(patience)
            try:
                answer = self._ask(words) if elsewhere is None else self._ask_once_at(elsewhere, words)
            except LinkLost as lost:
                self._lost(words, lost, elsewhere)
                elsewhere = None
                if not patience.wait():
                    raise NotDone(f"no server answered for {self._patience_seconds:g} s") from lost
                continue
            self._sent = False
            elsewhere = None
            if isinstance(answer, ErrorAnswer) and redirects < REDIRECTS_MAX:
                found = self._to_follow(answer)
                redirects += found is not None
                if found and answer.kind == b"ASK":
                    elsewhere = found
                    continue
                if found:
                    trouble = self._move(found)
                    if not trouble or patience.wait(trouble):
                        continue
                if self._may_pass(answer) and patience.wait(plain(answer.text)):
                    continue
            self._remember(words, answer)
            return answer

    def _be_connected(self, patience: Patience) -> None:
        """Have a connection. Raises NotDone."""
        if self._link is not None:
            try:
                for push in self._link.unasked():
                    self._say_push(push)
            except LinkLost as lost:
                why = f"the connection to {self.address} is lost ({lost})"
                bound = self._bound_text()
                self._leave()
                if bound:
                    raise NotDone(f"{why}, {bound}; this command was not sent") from lost
                self._say(why)
        while self._link is None:
            is_first = not self._was_connected
            try:
                self.connect()
            except NotDone as error:
                if is_first or not patience.wait(str(error)):
                    raise

    def _greeted(self, address: str) -> Link:
        """A connection to a server that answers, in the protocol wanted. Raises LinkLost."""
        link = self._dial(address, DIAL_SECONDS)
        try:
            if self._protocol == 3:
                link.send([b"HELLO", b"3"])
                answer = link.receive(GREETING_SECONDS)
                if isinstance(answer, ErrorAnswer):
                    raise LinkLost(f"it has no RESP3: {plain(answer.text)}")
            # The other servers' addresses, for when this one dies. The question also shows whether it is alive.
            link.send([b"CLUSTER", b"SLOTS"])
            named = addresses_of(link.receive(GREETING_SECONDS), address)
            link.unasked()  # a server that refuses connections says so, and closes
        except TimeoutError:
            link.close()
            raise LinkLost(f"it accepts connections and answers nothing for {GREETING_SECONDS:g} s") from None
        except BaseException:
            link.close()
            raise
        self._known = list(dict.fromkeys([address, *self._given, *(named or self._known)]))
        return link

    def _ask(self, words: Words) -> Answer:
        assert self._link is not None
        return self._exchange(self._link, words)

    def _ask_once_at(self, found: Redirect, words: Words) -> Answer:
        """Ask another server, as ASK wants it: for this command only."""
        self._say_redirect(f"-> asked at {found.address} (slot {found.slot} is being moved there)")
        link = self._greeted(found.address)
        try:
            link.send([b"ASKING"])
            link.receive(GREETING_SECONDS)
            return self._exchange(link, words)
        except TimeoutError:
            raise LinkLost(f"it answers nothing for {GREETING_SECONDS:g} s") from None
        finally:
            link.close()

    def _exchange(self, link: Link, words: Words) -> Answer:
        """Send a command and wait for its answer. Raises LinkLost."""
        self._sent = True
        link.send(words)
        waited = 0.0
        said = False
        while True:
            rest = NOTICE_SECONDS if self._answer_seconds is None else self._answer_seconds - waited
            started = self._monotonic()
            try:
                answer = link.receive(min(NOTICE_SECONDS, rest))
            except TimeoutError:
                waited += self._monotonic() - started
                if self._answer_seconds is not None and waited >= self._answer_seconds:
                    raise LinkLost(f"no answer within {self._answer_seconds:g} s") from None
                if not said:
                    self._say(f"no answer from {link.address} yet; Ctrl-C gives up")
                said = True
                continue
            if not isinstance(answer, PushAnswer):
                return answer
            self._say_push(answer)

    def _lost(self, words: Words, lost: LinkLost, elsewhere: Redirect | None) -> None:
        """A connection was lost with a command under way. Raises unless the command may be sent again."""
        why = f"the connection to {elsewhere.address if elsewhere else self.address} was lost ({lost})"
        fate = self._fate(words, why) if self._sent else None
        if elsewhere is None:
            self._leave()
        if fate is not None:
            raise fate from lost
        self._say(f"{why}; {plain(words[0].upper())} only reads, and is sent again" if self._sent else why)
        self._sent = False

    def _fate(self, words: Words, why: str) -> NotDone | OutcomeUnknown | None:
        """What a command has come to whose answer will never be read; None: it may be sent again."""
        if self.in_transaction and words[0].upper() != b"EXEC":
            return NotDone(f"{why}, {self._bound_text()}")
        if self._may_repeat(words):
            return NotDone(f"{why}, {self._bound_text()}") if self.watching else None
        return OutcomeUnknown(_unknown(words, why))

    def _leave(self) -> None:
        """Close a connection that is of no use; its server is the last to be tried."""
        address = self.address
        self.close()
        if address in self._known:
            self._known.remove(address)
            self._known.append(address)

    def _bound_text(self) -> str:
        """What goes with the connection, empty if nothing."""
        if self.in_transaction:
            return "and the transaction with it: nothing of it was executed"
        return "and with it what WATCH has watched" if self.watching else ""

    def _to_follow(self, error: ErrorAnswer) -> Redirect | None:
        """Where a redirect leads to; None if this is none, or if it must not be followed."""
        found = redirect_of(error, self.address) if error.kind in _REDIRECTS else None
        if found is None or not (self.in_transaction or self.watching):
            return found
        leave, what = ("DISCARD", "transaction") if self.in_transaction else ("UNWATCH", "WATCH")
        self._say(
            f"not followed, for the {what} would be lost: {leave}, read the key, and begin again where that leads"
        )
        return None

    def _may_pass(self, error: ErrorAnswer) -> bool:
        """Whether a command was refused for a moment only. What was executed in part has another error."""
        return error.kind in _PASSING and not self.in_transaction

    def _move(self, found: Redirect) -> str:
        """Go to the server that MOVED names. Returns why it cannot be reached, or nothing."""
        try:
            link = self._greeted(found.address)
        except LinkLost as lost:
            return f"slot {found.slot} is at {found.address}, which cannot be reached ({lost})"
        self.close()
        self._link = link
        self._say_redirect(f"-> slot {found.slot} is at {found.address}")
        return ""

    def _say_push(self, push: PushAnswer) -> None:
        self._say("the server says: " + text_of(push).rstrip().replace("\n", " "))

    def _remember(self, words: Words, answer: Answer) -> None:
        """Note what an answered command has changed about the connection."""
        name = words[0].upper()
        if name == b"EXEC":
            self.in_transaction = self.watching = False
        if isinstance(answer, ErrorAnswer):
            return
        if name in (b"DISCARD", b"RESET"):
            self.in_transaction = self.watching = False
        if name == b"RESET":
            self._protocol = 2
        if self.in_transaction:
            return  # it was queued
        if name == b"MULTI":
            self.in_transaction = True
        elif name in (b"WATCH", b"UNWATCH"):
            self.watching = name == b"WATCH"
        elif name == b"HELLO" and words[1:2] in ([b"2"], [b"3"]):
            self._protocol = int(words[1])


class Patience:
    """How long one command is tried again: from its first trouble on, with growing pauses."""

    def __init__(
        self,
        seconds: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        say: Callable[[str], None],
    ) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._sleep = sleep
        self._say = say
        self._until: float | None = None
        self._pause = _PAUSE_SECONDS_MIN
        self._has_said = False

    def wait(self, reason: str = "") -> bool:
        """Pause, and say once why; False, without a pause, when it has lasted long enough."""
        now = self._monotonic()
        if self._until is None:
            self._until = now + self._seconds
        if now >= self._until:
            return False
        if reason and not self._has_said:
            self._say(f"{reason}; tried again for up to {self._seconds:g} s")
            self._has_said = True
        self._sleep(min(self._pause, self._until - now))
        self._pause = min(self._pause * 2, BACKOFF_SECONDS_MAX)
        return True


def _unknown(words: Words, why: str) -> str:
    name = plain(words[0].upper())
    return f"{why}: {name} was executed once or not at all, and is not sent again; read the key to find out"
