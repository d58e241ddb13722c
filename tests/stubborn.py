"""A child that refuses: it ignores SIGTERM and SIGINT, and does what its arguments say, one after another.

    python -I -S stubborn.py marker=a1b2 grandchild stderr=50000000 hang

Standard library only, and little of that: it starts dozens of times in a test run.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Final, NoReturn

BLOCK: Final = 65_536


def put(descriptor: int, data: bytes) -> None:
    """Write all of it, as slowly as the reader wants."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def flood(descriptor: int, size: int) -> None:
    """Write ``size`` bytes in numbered lines of 64 bytes, so that a test knows which ones arrived."""
    for block in range(0, size, BLOCK):
        lines = range(block, min(block + BLOCK, size), 64)
        put(descriptor, b"".join(b"%-63d\n" % line for line in lines))


def hang(seconds: str) -> None:
    """Sleep without a sign of life, for ever if not told otherwise."""
    time.sleep(float(seconds or 3600))


def burn(seconds: str) -> None:
    """Use the processor without a word."""
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        pass


def beat(seconds: str) -> None:
    """Say something every twentieth of a second."""
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        put(1, b".\n")
        time.sleep(0.05)


def grandchild(kind: str) -> None:
    """Fork another one that hangs, and say its pid. ``quiet``: it holds none of the pipes; ``heavy``: so much memory
    that it takes a while to die.
    """
    begun, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        if kind in ("quiet", "heavy"):
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
        ballast = bytearray(b"x") * (300 << 20 if kind == "heavy" else 1)
        os.write(ready, b".")
        hang("")
        del ballast
    os.read(begun, 1)
    os.close(begun)
    os.close(ready)
    put(1, b"%d\n" % pid)


def descriptors(_: str) -> None:
    """Say which files are open, those that the question itself opens excepted."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names, no paths
        try:
            os.fstat(int(name))
        except OSError:
            continue
        found.append(name)
    put(1, (" ".join(found) + "\n").encode())


def environment(_: str) -> None:
    """Say every variable, one a line."""
    put(1, "".join(f"{name}={value}\n" for name, value in os.environ.items()).encode())


def end(status: str) -> NoReturn:
    """Exit at once."""
    os._exit(int(status))


def die(number: str) -> None:
    """End by a signal."""
    signal.signal(int(number), signal.SIG_DFL) if int(number) != signal.SIGKILL else None
    os.kill(os.getpid(), int(number))


ACTIONS: Final[dict[str, Callable[[str], None]]] = {
    "marker": lambda _: None,
    "say": lambda text: put(1, text.encode() + b"\n"),
    "tell": lambda text: put(2, text.encode() + b"\n"),
    "stdout": lambda size: flood(1, int(size)),
    "stderr": lambda size: flood(2, int(size)),
    "close_stdin": lambda _: os.close(0),
    "close_stdout": lambda _: os.close(1),
    "read": lambda descriptor: put(1, os.read(int(descriptor), BLOCK)),
    "hang": hang,
    "burn": burn,
    "beat": beat,
    "grandchild": grandchild,
    "descriptors": descriptors,
    "environment": environment,
    "exit": end,
    "signal": die,
}


def main(words: list[str]) -> None:
    """Do what the words say."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for word in words:
        name, _, value = word.partition("=")
        ACTIONS[name](value)


if __name__ == "__main__":
    main(sys.argv[1:])
