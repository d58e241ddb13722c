"""The benchmarks: ``./dev bench`` runs all, ``./dev bench joining`` or ``… serving`` one, with its options."""

from __future__ import annotations

import sys

from benchmarks import joining, serving

WAYS = {"joining": joining.main, "serving": serving.main}


def main() -> None:
    """Run what is named, or all."""
    named = sys.argv[1:2]
    if named and named[0] in WAYS:
        WAYS[named[0]](sys.argv[2:])
    elif named:
        sys.exit(f"./dev bench {named[0]}: known are {', '.join(WAYS)}")
    else:
        for way in WAYS.values():
            way([])
            print()


if __name__ == "__main__":
    main()
