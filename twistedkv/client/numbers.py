"""The numbers of a client's writes to one shard."""

from twistedkv.limits import WRITE_WINDOW


class WriteNumbers:
    """Gives numbers, from 1 if not said otherwise, and knows the oldest that has not ended.

    A number ends when its write is answered, given up or cancelled: it is never sent again after that, and so its
    result need not be remembered by anybody. That is all that `oldest` promises to the servers, so it may also pass the
    number of a write whose answer is still on its way. If that write's last attempt reaches a server later, it is
    executed if it is a first attempt, and refused as unknown if it is a retry: once at most in both cases.
    """

    __slots__ = ("_ended", "next", "oldest")

    def __init__(self, first: int = 1) -> None:
        self.next = first
        self.oldest = first
        """Invariant: every number below has ended, and oldest <= next <= oldest + WRITE_WINDOW."""
        self._ended: set[int] = set()
        """Numbers above `oldest` that have ended."""

    @property
    def available(self) -> bool:
        """Whether `give` would."""
        return self.next - self.oldest < WRITE_WINDOW

    def give(self) -> int:
        """A new number; 0 if it would lie too far above the oldest one."""
        number = self.next
        if number - self.oldest >= WRITE_WINDOW:
            return 0
        self.next = number + 1
        return number

    def end(self, number: int) -> None:
        """The write with this number is sent no more."""
        ended = self._ended
        if number != self.oldest:
            ended.add(number)
            return
        number += 1
        while number in ended:
            ended.remove(number)
            number += 1
        self.oldest = number
