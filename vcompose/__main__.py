"""``python -m vcompose`` and the script ``vcompose``."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line.

    Until it listens to signals itself, an interrupt ends the process at once and without a traceback: nothing was
    started yet. So this comes before the imports, which take most of that time.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from vcompose.cli import application  # noqa: PLC0415 - see above

    application()


if __name__ == "__main__":
    main()
