"""``python -m vcompose`` and the script ``vcompose``."""

from __future__ import annotations

import signal
import sys

# commands that need none of the service's libraries, half a second of imports
_QUICK = frozenset({"join", "probe", "demo"})


def main() -> None:
    """Run the command line.

    Until it listens to signals itself, an interrupt ends the process at once and without a traceback: nothing was
    started yet. So this comes before the imports, which take most of that time.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it was ignored on purpose
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from vcompose.cli import application  # noqa: PLC0415 - see above

    if not _QUICK.intersection(sys.argv[1:2]):
        import vcompose.serve  # noqa: F401, PLC0415 - adds its command

    try:
        application()
    finally:
        # the interpreter's own last milliseconds would let a late signal spoil the exit code
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
