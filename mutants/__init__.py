"""One planted fault for each promise: its property must see it. ``python -m mutants`` (``./dev mutants``) runs them.

Each fault is a patch, ``property-N.patch``, whose first line says what is wrong. It is applied to a copy of the
project, and there the tests of property N are run: they must fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
COPIED: Final = ("vcompose", "tests", "static", "pyproject.toml")

GREEN: Final = 0
RED: Final = 1
"""What pytest exits with when all tests passed, and when some failed; anything else says that they did not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A planted fault: the property that must see it, and what it is."""

    number: int
    path: Path

    @property
    def fault(self) -> str:
        """What is wrong, in a sentence."""
        return self.path.read_text(encoding="utf-8").partition("\n")[0]

    def plant(self, root: Path, *, only_check: bool = False) -> str:
        """Apply the patch to the sources below ``root`` (or see whether it would); gives what went wrong."""
        git, patch = shutil.which("git"), shutil.which("patch")
        if git is not None:
            command = [git, "apply", *(["--check"] if only_check else []), str(self.path)]
        elif patch is not None:
            options = ["--dry-run"] if only_check else []
            command = [patch, "-p1", "--fuzz=0", "--forward", "--batch", *options, "-i", str(self.path)]
        else:
            return "neither git nor patch is here"
        # a repository around the copy is none of its business
        environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else (done.stderr or done.stdout).strip()


def mutants() -> list[Mutant]:
    """All of them, by number."""
    found = [Mutant(number=int(path.stem.rpartition("-")[2]), path=path) for path in ROOT.glob("mutants/*.patch")]
    return sorted(found, key=lambda mutant: mutant.number)


def copy(to: Path) -> Path:
    """Copy what the tests need; the tests of the copy use the copy, or this raises."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to / name)
    where = _python(to, "-c", "import vcompose; print(vcompose.__file__)").stdout.strip()
    assert Path(where).is_relative_to(to.resolve()), f"the copy in {to} would use {where}"
    return to


def check(root: Path, numbers: list[int]) -> tuple[int, str]:
    """Run the tests of some properties in a copy; gives pytest's exit status, and the end of what it said."""
    modules = sorted(map(str, (root / "tests").glob("test_properties_*.py")))
    wanted = " or ".join(f"property_{number}" for number in numbers)
    options = ("-q", "-x", "--tb=short", "-p", "no:cacheprovider", "--hypothesis-profile=unshrunk")
    done = _python(root, "-m", "pytest", *options, "-k", wanted, *modules)
    return done.returncode, (done.stdout + done.stderr)[-3000:]


def _python(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
