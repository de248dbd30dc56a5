"""Every mutant changes what it says, and is caught by its directed test."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.mutants.__main__ import ROOT
from tests.mutants.mutation import Mutant
from tests.mutants.rules import MUTANTS
from twistedkv.simulation.coverage import INVARIANTS


def test_every_invariant_has_a_mutant() -> None:
    assert {mutant.invariant for mutant in MUTANTS} == set(INVARIANTS)
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_every_mutant_is_caught_by_its_directed_test() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutants"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(MUTANTS)} of {len(MUTANTS)} mutants caught" in done.stdout


def test_a_mutant_that_escapes_fails_the_run() -> None:
    program = (
        "import sys, attrs\n"
        "from tests.mutants import __main__ as mutants\n"
        "harmless = attrs.evolve(mutants.MUTANTS[0], name='harmless', where='twistedkv.slots:slot_of',\n"
        "                        old='return', new='return  ')\n"
        "mutants.MUTANTS = (harmless,)\n"
        "sys.argv = ['mutants']\n"
        "sys.exit(mutants.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "ESCAPED" in done.stdout


def test_a_mutant_whose_text_has_gone_is_an_error() -> None:
    mutant = Mutant("gone", "I1", "", "twistedkv.slots:slot_of", "no such text", "", "")
    with pytest.raises(LookupError, match="gone"):
        mutant.apply()


def test_a_mutant_is_not_the_original() -> None:
    program = (
        "from tests.mutants.rules import MUTANTS\n"
        "from twistedkv.core.replica import Replica\n"
        "before = Replica.append\n"
        "next(mutant for mutant in MUTANTS if mutant.name == 'accept_old_epochs').apply()\n"
        "print(Replica.append is not before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
