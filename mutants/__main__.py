"""``python -m mutants [N ...]``: see that the properties hold, plant each fault, and see its property fail."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from mutants import GREEN, RED, Mutant, check, copy, mutants


def main(numbers: list[str]) -> int:
    """Every mutant, or those of some properties; gives 1 when one survived or could not be planted."""
    chosen = [mutant for mutant in mutants() if not numbers or str(mutant.number) in numbers]
    if not chosen:
        print(f"there is no mutant {' '.join(numbers)}")
        return 2
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        begun = time.monotonic()
        status, said = check(copy(_made(folder, "healthy")), [mutant.number for mutant in chosen])
        print(f"healthy: {'all pass' if status == GREEN else 'FAILS'} ({time.monotonic() - begun:.0f} s)", flush=True)
        if status != GREEN:
            print(said)
            return 1
        results = [_killed(mutant, folder) for mutant in chosen]
    return 0 if all(results) else 1


def _killed(mutant: Mutant, folder: str) -> bool:
    begun = time.monotonic()
    root = copy(_made(folder, str(mutant.number)))
    if problem := mutant.plant(root):
        verdict, said = "DOES NOT APPLY", problem
    else:
        status, said = check(root, [mutant.number])
        verdict = {RED: "killed", GREEN: "SURVIVED"}.get(status, f"DID NOT RUN (pytest exits with {status})")
    print(f"property {mutant.number}: {verdict} ({time.monotonic() - begun:.0f} s): {mutant.fault}", flush=True)
    if verdict == "killed":
        return True
    print(said)
    return False


def _made(folder: str, name: str) -> Path:
    place = Path(folder) / name
    place.mkdir()
    return place


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
