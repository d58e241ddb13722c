"""The command line of the fault run; exit status 1 when anything did not hold."""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from faults.moments import STAGES
from faults.run import Run, chosen, stages

KILLS = 20


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="faults", description="Kill the server at chosen moments; nothing is lost.")
    parser.add_argument("--seed", type=int, default=None, help="choose the moments anew with this number")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"kills (at least {len(STAGES)}; default {KILLS})")
    parser.add_argument("--quick", action="store_true", help="each of the seven stages once, in under a minute")
    parser.add_argument("--folder", type=Path, default=None, help="work below this folder, and keep what is made")
    given = parser.parse_args()
    seed = secrets.randbelow(1 << 32) if given.seed is None else given.seed
    kills = len(STAGES) if given.quick else max(given.kills, len(STAGES))
    folder = Path(tempfile.mkdtemp(prefix="vcompose-faults-", dir=given.folder))
    say(f"seed {seed}, {kills} kills, in {folder}")
    rng = random.Random(seed)
    result = asyncio.run(Run(folder, rng, say).make(chosen(rng, kills)))
    say(f"kills that were proven: {sum(result.hits.values())} ({stages(result)}); {result.misses} proved nothing")
    if result.wrong:
        say(f"VERDICT: {len(result.wrong)} things did not hold, seed {seed}, in {result.seconds:.0f} s; see {folder}")
        for words in result.wrong:
            say(f"  - {words}")
        return 1
    say(f"VERDICT: all held, seed {seed}, in {result.seconds:.0f} s")
    if given.folder is None:
        shutil.rmtree(folder)
    return 0


def say(text: str) -> None:
    """A line, at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
