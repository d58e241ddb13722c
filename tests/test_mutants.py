"""The planted faults still fit the sources: a patch that no longer applies would test nothing, unseen."""

from __future__ import annotations

import re
import shutil

import pytest

from mutants import ROOT, Mutant, mutants

PROMISES = 8


def test_each_promise_has_its_fault() -> None:
    assert [mutant.number for mutant in mutants()] == list(range(1, PROMISES + 1))


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: f"property-{mutant.number}")
def test_a_fault_can_be_planted(mutant: Mutant) -> None:
    if shutil.which("git") is None and shutil.which("patch") is None:
        pytest.skip("neither git nor patch is here")
    assert mutant.plant(ROOT, only_check=True) == ""
    patch = mutant.path.read_text(encoding="utf-8")
    assert re.match(r"[A-Z][^\n]+\.\n--- a/", patch), "its first line says what is wrong"
    assert all(name.startswith("vcompose/") for name in re.findall(r"^[-+]{3} [ab]/(\S+)", patch, re.MULTILINE))


def test_each_promise_has_its_property() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_properties_*.py"))
    assert {int(number) for number in re.findall(r"def test_property_(\d)_", text)} == set(range(1, PROMISES + 1))
