"""Both checkers on one history."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from twistedkv.history.record import Record
from twistedkv.history.search import check_by_search
from twistedkv.history.witness import Violation, check_by_versions


@attrs.frozen
class Verdict:
    """What they say. They should agree: where only the versions are wrong, that is an error too."""

    operations: int
    keys: int
    by_versions: tuple[Violation, ...]
    by_search: tuple[Violation, ...]
    undecided: tuple[str, ...]
    """Keys for which the search took too long."""

    @property
    def linearizable(self) -> bool:
        """Whether neither has found anything."""
        return not self.by_versions and not self.by_search

    def as_text(self) -> str:
        """For people."""
        lines = [f"{self.operations} operations on {self.keys} keys"]
        for name, violations in (("by versions", self.by_versions), ("by search", self.by_search)):
            lines += [f"{name}: {violation}" for violation in violations]
            if not violations:
                lines.append(f"{name}: no violation")
        if self.undecided:
            lines.append(f"the search gave up on {len(self.undecided)} keys: {', '.join(self.undecided[:5])}")
        return "\n".join(lines)


def check(records: Iterable[Record]) -> Verdict:
    """Run both."""
    known = list(records)
    violations, undecided = check_by_search(known)
    return Verdict(
        len(known), len({r.key for r in known}), tuple(check_by_versions(known)), tuple(violations), tuple(undecided)
    )
