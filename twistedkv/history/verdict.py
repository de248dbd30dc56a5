"""Both checkers on one history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from twistedkv.history.record import Header, Record
from twistedkv.history.search import check_by_search
from twistedkv.history.violation import Violation
from twistedkv.history.witness import check_by_versions

EXPLAINED_MAX = 5
"""Keys whose violation is explained; of more, only the names are said."""


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

    @property
    def violations(self) -> list[Violation]:
        """One for each key that is wrong: what the witness says of it, if it has found something."""
        of_keys = {violation.key: violation for violation in (*self.by_search, *self.by_versions)}
        return [of_keys[key] for key in sorted(of_keys)]

    def as_text(self) -> str:
        """For people."""
        lines = [f"{self.operations} operations on {self.keys} keys"]
        for name, violations in (("by versions", self.by_versions), ("by search", self.by_search)):
            wrong = f"{len(violations)} key{'s' if len(violations) != 1 else ''} wrong"
            lines.append(f"{name}: {wrong if violations else 'no violation'}")
        if self.undecided:
            lines.append(f"the search gave up on {len(self.undecided)} keys: {', '.join(self.undecided[:5])}")
        for violation in self.violations[:EXPLAINED_MAX]:
            lines += ["", violation.as_text(), f"  {self._of_the_other(violation)}"]
        more = [violation.key for violation in self.violations[EXPLAINED_MAX:]]
        if more:
            lines += ["", f"wrong too: {', '.join(more)}"]
        return "\n".join(lines)

    def _of_the_other(self, violation: Violation) -> str:
        """What the other checker says of the same key."""
        if violation.key not in {other.key for other in self.by_versions}:
            return "The witness finds nothing wrong: the versions fit together, and one of the checkers is wrong."
        if violation.key in self.undecided:
            return "The search, which does not look at versions, took too long to say anything."
        if violation.key in {other.key for other in self.by_search}:
            return "The search, which does not look at versions, finds no order of the operations either."
        return "The search, which does not look at versions, finds an order: only the versions are wrong."

    def as_document(self, header: Header | None = None) -> dict[str, Any]:
        """For programs."""
        return {
            "header": None if header is None else attrs.asdict(header),
            "operations": self.operations,
            "keys": self.keys,
            "linearizable": self.linearizable,
            "by_versions": [violation.as_document() for violation in self.by_versions],
            "by_search": [violation.as_document() for violation in self.by_search],
            "undecided": list(self.undecided),
        }


def check(records: Iterable[Record]) -> Verdict:
    """Run both."""
    known = list(records)
    violations, undecided = check_by_search(known)
    return Verdict(
        len(known), len({r.key for r in known}), tuple(check_by_versions(known)), tuple(violations), tuple(undecided)
    )
