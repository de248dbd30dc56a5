"""A mutant is a function of the package in whose source one piece of text is replaced.

It exists only in a process that asks for it. When the source has changed so that the text does not stand there any
more, or stands there twice, applying it fails: a mutant that changes nothing would be caught by nobody.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from typing import Any

import attrs


@attrs.frozen
class Mutant:
    """One rule taken out."""

    name: str
    invariant: str
    says: str
    """What the wrong program does."""
    where: str
    """module:function or module:Class.method."""
    old: str
    new: str
    directed: str
    """The test that catches it, as pytest names it, without `tests/`."""

    def apply(self) -> None:
        """Put it into this process, for good."""
        module_name, _, path = self.where.partition(":")
        module = importlib.import_module(module_name)
        owner: Any = module
        *outer, name = path.split(".")
        for each in outer:
            owner = getattr(owner, each)
        original = inspect.getattr_static(owner, name)
        source = textwrap.dedent(inspect.getsource(getattr(original, "fget", None) or original))
        if source.count(self.old) != 1:
            raise LookupError(f"mutant {self.name}: {self.old!r} does not stand once in {self.where}")
        names: dict[str, Any] = {}
        exec(compile(source.replace(self.old, self.new), f"<mutant {self.name}>", "exec"), vars(module), names)
        setattr(owner, name, names[name])
