"""Children, tried on one that refuses everything: however the parent leaves, the whole group is gone."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from vcompose.media.child import STDERR_KEPT, Command, Ended, Guard, Limits, run, start
from vcompose.media.errors import ChildFailed, ChildStalled, StepError, ToolError

STUBBORN = Path(__file__).with_name("stubborn.py")
PYTHON = (sys.executable, "-I", "-S")
GUARD = Guard.find(os.environ.get("PATH", os.defpath))
GUARDED = pytest.mark.skipif(GUARD.setpriv is None or GUARD.prlimit is None, reason="no setpriv or no prlimit here")


def living(marker: str) -> list[psutil.Process]:
    """Processes with the marker among their arguments, zombies excepted."""
    found = []
    for process in psutil.process_iter():
        try:
            if f"marker={marker}" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def is_alive(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def none_within(seconds: float, marker: str) -> bool:
    """Whether all with the marker are gone in that time."""
    end = time.monotonic() + seconds
    while living(marker):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Stubborn:
    """Commands for stubborn children that can be found again."""

    def __init__(self) -> None:
        self.marker = secrets.token_hex(8)

    def command(self, *words: str, **options: Any) -> Command:
        """A command; ``options`` are the other fields of Command."""
        argv = (*PYTHON, str(STUBBORN), f"marker={self.marker}", *words)
        return Command(**{"argv": argv, "folder": Path("/"), "guard": GUARD, **options})

    def living(self) -> list[psutil.Process]:
        """Those that live."""
        return living(self.marker)


@pytest.fixture
async def stubborn() -> AsyncIterator[Stubborn]:
    """Stubborn children; none of them, and no task, may be left at the end of a test."""
    made = Stubborn()
    yield made
    left = made.living()
    for process in left:
        process.kill()
    assert not left
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    assert not tasks


def ignore(data: bytes) -> None:
    """Nothing is wanted of stdout."""


async def said(command: Command) -> bytes:
    """All that a child wrote to stdout."""
    data = bytearray()
    await run(command, data.extend)
    return bytes(data)


class Watch:
    """Hears stdout, and knows when the first of it came."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.first = asyncio.Event()

    def __call__(self, data: bytes) -> None:
        self.data += data
        if b"\n" in self.data:
            self.first.set()


# how a child ends


async def test_ends_well(stubborn: Stubborn) -> None:
    """Exit status 0: what it wrote to stderr and how long it took."""
    heard = bytearray()
    ended = await run(stubborn.command("say=picture", "tell=a warning", "say=sound", "exit=0"), heard.extend)
    assert ended.status == 0
    assert ended.stderr == "a warning"
    assert 0 < ended.seconds < 10
    assert heard == b"picture\nsound\n"


async def test_fails(stubborn: Stubborn) -> None:
    """Another status is a failure, with the status and the last lines."""
    with pytest.raises(ChildFailed) as caught:
        await run(stubborn.command("tell=one", "tell=two", "tell=three", "tell=four", "exit=7"), ignore)
    assert caught.value.status == 7
    assert caught.value.code == "ffmpeg_failed"
    assert caught.value.stderr == "one\ntwo\nthree\nfour"
    assert caught.value.detail.endswith("failed with exit status 7: two / three / four")


async def test_fails_silently(stubborn: Stubborn) -> None:
    """A child that dies without a word."""
    with pytest.raises(ChildFailed, match="exit status 1: it said nothing"):
        await run(stubborn.command("exit=1"), ignore)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
async def test_dies_by_a_signal(stubborn: Stubborn, number: signal.Signals) -> None:
    """The signal is named."""
    with pytest.raises(ChildFailed, match=f"failed with signal {number.name}: last words") as caught:
        await run(stubborn.command("tell=last words", f"signal={int(number)}"), ignore)
    assert caught.value.status == -number


async def test_stderr_is_printable(stubborn: Stubborn) -> None:
    """A stranger's file name in ffmpeg's words cannot write on our terminal."""
    with pytest.raises(ChildFailed) as caught:
        await run(stubborn.command("tell=\x1b[2Jgone\x07", "exit=1"), ignore)
    assert caught.value.stderr == "?[2Jgone?"


async def test_waits_without_judging(stubborn: Stubborn) -> None:
    """``wait`` leaves the judgement to the caller."""
    async with start(stubborn.command("exit=3")) as child:
        assert await child.read() == b""
        ended = await child.wait()
    assert (ended.status, ended.stderr) == (3, "")
    assert isinstance(ended, Ended)


@pytest.mark.parametrize("guard", [GUARD, Guard(setpriv=None, prlimit=None)], ids=["guarded", "bare"])
async def test_no_such_program(guard: Guard) -> None:
    """A program that is not there is a ToolError, whatever stands in front of it."""
    command = Command(argv=("/nowhere/ffmpeg", "-version"), folder=Path("/"), guard=guard)
    with pytest.raises(ToolError) as caught:
        await run(command, ignore)
    assert caught.value.code == "tool_broken"


async def test_no_room_for_a_process(stubborn: Stubborn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's refusal to fork is no fault of the program."""

    async def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    with pytest.raises(StepError) as caught:
        await run(stubborn.command("exit=0"), ignore)
    assert caught.value.code == "no_process"


# floods


async def test_flood_of_stderr(stubborn: Stubborn) -> None:
    """50 MB of complaints block nothing, and only the last 16 KiB are kept."""
    size = 50_000_000
    ended = await run(stubborn.command(f"stderr={size}", "say=done"), ignore)
    assert STDERR_KEPT == 16 * 1024
    assert STDERR_KEPT - 128 < len(ended.stderr) <= STDERR_KEPT
    lines = ended.stderr.split()
    last = (size - 1) // 64 * 64
    assert [int(line) for line in lines[1:]] == list(range(last - 64 * (len(lines) - 2), last + 1, 64))


async def test_flood_of_both(stubborn: Stubborn) -> None:
    """A reader who is slow with stdout gets all of it, whatever comes on stderr at the same time."""
    heard = 0
    async with start(stubborn.command("stderr=3000000", "stdout=20000000", "stderr=3000000", "exit=0")) as child:
        await asyncio.sleep(0.2)
        while data := await child.read():
            heard += len(data)
        ended = await child.wait()
    assert ended.status == 0
    assert heard == -(-20_000_000 // 64) * 64


@pytest.mark.parametrize("flood", ["stdout=1000000000", "stderr=1000000000"])
async def test_leaving_a_flood(stubborn: Stubborn, flood: str) -> None:
    """A child in the middle of a flood is left at once, its pipes full."""
    begun = time.monotonic()
    async with start(stubborn.command(flood)) as child:
        await asyncio.sleep(0.2)
        assert is_alive(child.pid)
    assert time.monotonic() - begun < 2
    assert not stubborn.living()


# leaving, by every way out


@pytest.mark.parametrize("kind", ["grandchild", "grandchild=quiet", "grandchild=heavy"])
async def test_leaving_early(stubborn: Stubborn, kind: str) -> None:
    """Out of ``start`` without a wait: child and grandchild are gone at once, even one that is slow to die."""
    async with start(stubborn.command(kind, "hang")) as child:
        grandchild = int(await child.read())
        assert is_alive(grandchild)
        assert os.getpgid(grandchild) == child.pid == os.getsid(child.pid)
        assert os.getsid(child.pid) != os.getsid(0)
    assert not is_alive(grandchild)
    assert not is_alive(child.pid)
    assert not stubborn.living()


async def test_exception_in_on_output(stubborn: Stubborn) -> None:
    """What ``on_output`` raises comes out, once the group is gone."""

    def refuse(data: bytes) -> None:
        raise LookupError(data.decode())

    with pytest.raises(LookupError, match=r"^\d+$"):
        await run(stubborn.command("grandchild", "hang"), refuse)
    assert not stubborn.living()


@pytest.mark.parametrize("kind", ["grandchild", "grandchild=quiet"])
@pytest.mark.parametrize("last", ["hang", "burn=60", "stderr=1000000000", "stdout=1000000000"])
async def test_cancel(stubborn: Stubborn, kind: str, last: str) -> None:
    """A cancelled ``run`` comes back when nobody of the group lives any more."""
    watch = Watch()
    task = asyncio.create_task(run(stubborn.command(kind, last), watch))
    await watch.first.wait()
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not stubborn.living()
    assert time.monotonic() - begun < 1


async def test_cancel_while_stopped(stubborn: Stubborn) -> None:
    """A group that is stopped by SIGSTOP is gone as fast."""
    watch = Watch()
    task = asyncio.create_task(run(stubborn.command("grandchild", "hang"), watch))
    await watch.first.wait()
    for process in stubborn.living():
        process.suspend()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), 2)
    assert not stubborn.living()


@pytest.mark.parametrize("cycles", range(8))
async def test_second_cancel(stubborn: Stubborn, cycles: int) -> None:
    """More cancels, in any turn of the loop during the ending, change nothing."""
    watch = Watch()
    task = asyncio.create_task(run(stubborn.command("grandchild", "stderr=2000000", "hang"), watch))
    await watch.first.wait()
    task.cancel()
    for _ in range(cycles):
        await asyncio.sleep(0)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0 if cycles % 2 else 0.001)
    assert task.cancelled()
    assert not stubborn.living()


async def test_cancel_during_the_spawn(stubborn: Stubborn) -> None:
    """Cancelled after any number of turns of the loop, or any number of microseconds: no child is left, ever."""
    ourselves = psutil.Process()
    before = {process.pid for process in ourselves.children()}
    turns: Callable[[int], float] = lambda number: 0  # noqa: E731
    waits: Callable[[int], float] = lambda number: number / 2000  # noqa: E731
    for pause, number in itertools.product((turns, waits), range(25)):
        task = asyncio.create_task(run(stubborn.command("hang"), ignore))
        if pause is waits:
            await asyncio.sleep(pause(number))
        else:
            for _ in range(number):
                await asyncio.sleep(0)
        task.cancel()
        if number % 3 == 1:
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert {process.pid for process in ourselves.children()} <= before, f"left after {number} {pause}"
    assert not stubborn.living()


async def test_timeout_around_a_child(stubborn: Stubborn) -> None:
    """A bound set by the caller (``asyncio.timeout``) works as a cancel does."""
    watch = Watch()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await run(stubborn.command("grandchild", "hang"), watch)
    assert not stubborn.living()


@pytest.mark.parametrize("kind", ["grandchild=quiet", "grandchild"])
async def test_grandchild_outlives_its_parent(stubborn: Stubborn, kind: str) -> None:
    """A child that exits and leaves somebody of its group behind: they are ended too, with or without our pipes."""

    async def meet() -> None:
        async with start(stubborn.command(kind, "exit=0")) as child:
            pid = int(await child.read())
            while is_alive(child.pid):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert is_alive(pid)

    task = asyncio.create_task(meet())
    await asyncio.wait([task], timeout=2)
    left = [process.pid for process in stubborn.living()]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    await task
    assert not left


@pytest.mark.parametrize("last_act", ["pass", "task.cancel()", "raise SystemExit(0)"])
@pytest.mark.parametrize("word", ["hang", "stderr=1000000000"])
async def test_loop_ends_under_a_child(stubborn: Stubborn, last_act: str, word: str) -> None:
    """``asyncio.run`` is left without waiting for a child: its cancel of every task at once loses nobody.

    Without the guard, so that it is not the kernel's death signal that helps.
    """
    code = f"""
import asyncio, time
from pathlib import Path
from vcompose.media.child import Command, Guard, run

async def main():
    global task
    command = Command(argv={stubborn.command("say=up", word).argv!r}, folder=Path("/"),
        guard=Guard(setpriv=None, prlimit=None))
    heard = asyncio.Event()
    task = asyncio.create_task(run(command, lambda data: heard.set()))
    await heard.wait()
    await asyncio.sleep(0.2)
    {last_act}

asyncio.run(main())
"""
    process = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, timeout=20)
    assert process.returncode == 0, process.stderr.decode()
    left = stubborn.living()
    for one in left:
        one.kill()
    assert not left


# the watchdog


async def test_stall(stubborn: Stubborn) -> None:
    """Neither output nor CPU time: ended, the grandchild with it."""
    with pytest.raises(ChildStalled) as caught:
        await run(stubborn.command("tell=stuck", "grandchild", "hang", stall=0.6), ignore)
    assert caught.value.code == "stalled"
    assert caught.value.status == -signal.SIGKILL
    assert caught.value.stderr == "stuck"
    assert not stubborn.living()


async def test_stall_after_stdout_ended(stubborn: Stubborn) -> None:
    """A child that closed its stdout and lives on is watched as well."""
    with pytest.raises(ChildStalled, match="neither progress nor CPU time"):
        await run(stubborn.command("say=bye", "close_stdout", "hang", stall=0.6), ignore)


async def test_closes_stdout_and_lives_on(stubborn: Stubborn) -> None:
    """The end of stdout is not the end of the child."""
    begun = time.monotonic()
    with pytest.raises(ChildFailed, match="exit status 5"):
        await run(stubborn.command("close_stdout", "hang=0.4", "exit=5"), ignore)
    assert time.monotonic() - begun >= 0.4


@pytest.mark.parametrize("work", ["burn=1.6", "beat=1.6"])
async def test_worker_is_not_stalled(stubborn: Stubborn, work: str) -> None:
    """Silent work with CPU time, and output without CPU time worth the name, are signs of life."""
    assert (await run(stubborn.command(work, "exit=0", stall=0.8), ignore)).status == 0


async def test_nobody_waits(stubborn: Stubborn) -> None:
    """A child that rests because nobody reads from it (a full pipe) is not stalled."""
    async with start(stubborn.command("stdout=2000000", "exit=0", stall=0.5)) as child:
        assert await child.read()
        await asyncio.sleep(1.5)
        while await child.read():
            pass
        assert (await child.wait()).status == 0


async def test_stall_in_a_write(stubborn: Stubborn) -> None:
    """A child that does not read its stdin any more is ended; the writer learns it."""
    async with start(stubborn.command("hang", stall=0.6), feed=True) as child:
        while await child.write(bytes(1 << 20)):
            pass
        with pytest.raises(ChildStalled):
            await child.wait()


async def test_deadline(stubborn: Stubborn) -> None:
    """Life is bounded where that was asked for, however busy it is. The clock goes on while nobody waits."""
    with pytest.raises(ChildStalled) as caught:
        await run(stubborn.command("beat=60", stall=1.0, deadline=0.4), ignore)
    assert caught.value.code == "timeout"
    assert "took longer than 0.4 s" in caught.value.detail


async def test_pause_of_the_loop_is_no_stall(stubborn: Stubborn) -> None:
    """Time in which we did not look (a blocked loop) is not held against the child."""
    task = asyncio.create_task(run(stubborn.command("hang=2.3", "exit=0", stall=1.2), ignore))
    await asyncio.sleep(0.5)  # the first look has been taken
    time.sleep(1.5)
    assert (await task).status == 0


async def test_stopped_parent_counts_no_stall(stubborn: Stubborn) -> None:
    """A vcompose that was stopped (SIGSTOP, a machine that slept) goes on with its child when it wakes."""
    code = f"""
import asyncio
from pathlib import Path
from vcompose.media.child import Command, Guard, run

command = Command(argv={stubborn.command("say=up", "hang=5.0", "exit=0").argv!r}, folder=Path("/"),
    guard=Guard(setpriv=None, prlimit=None), stall=2.4)
print(asyncio.run(run(command, lambda data: print(data.decode(), end="", flush=True))).status)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "up\n"
        await asyncio.sleep(0.8)  # the first look has been taken
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(3.2)
        process.send_signal(signal.SIGCONT)
        output, errors = await asyncio.to_thread(process.communicate, timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (output, errors) == ("0\n", "")


# what a child may, and what it gets


def limits_of(pid: int) -> dict[str, tuple[str, str]]:
    """Soft and hard limits, as the kernel has them."""
    rows = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    matches = [re.match(r"(Max .*?)\s{2,}(\S+)\s+(\S+)", row) for row in rows]
    return {match[1]: (match[2], match[3]) for match in matches if match}


@GUARDED
async def test_limits(stubborn: Stubborn) -> None:
    """The limits are set in the child, soft and hard, and it can get no new privileges."""
    limits = Limits(memory=3 << 30, file_size=5 << 20, open_files=33)
    async with start(stubborn.command("say=up", "hang", limits=limits)) as child:
        await child.read()
        found = limits_of(child.pid)
        status = Path(f"/proc/{child.pid}/status").read_text()
    assert found["Max address space"] == (str(3 << 30), str(3 << 30))
    assert found["Max file size"] == (str(5 << 20), str(5 << 20))
    assert found["Max open files"] == ("33", "33")
    assert found["Max core file size"] == ("0", "0")
    assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE)


@GUARDED
async def test_our_limits_stay(stubborn: Stubborn) -> None:
    """They are the child's alone."""
    names = (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)
    before = [resource.getrlimit(name) for name in names]
    await run(stubborn.command("exit=0"), ignore)
    assert [resource.getrlimit(name) for name in names] == before


@GUARDED
async def test_file_size_limit(stubborn: Stubborn, tmp_path: Path) -> None:
    """A file that grows too large ends its writer, and not the disk."""
    shell = ("/bin/sh", "-c", "exec head -c 4000000 /dev/zero >big", f"marker={stubborn.marker}")
    with pytest.raises(ChildFailed):
        await run(stubborn.command(argv=shell, folder=tmp_path, limits=Limits(file_size=1 << 20)), ignore)
    assert (tmp_path / "big").stat().st_size <= 1 << 20


async def test_environment_holds_nothing_of_ours(stubborn: Stubborn, monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret of ours, no PYTHONPATH, no LD_PRELOAD: a path, a locale, and what the command adds."""
    monkeypatch.setenv("VCOMPOSE_TEST_SECRET", "hunter2")
    monkeypatch.setenv("HOME", "/root/secret")
    found = dict(
        line.split("=", 1)
        for line in (await said(stubborn.command("environment", environment={"FONT": "x"}))).decode().splitlines()
    )
    shells_own = {"PWD", "OLDPWD", "SHLVL", "_"}
    assert found.keys() - shells_own - {"LC_CTYPE"} == {"PATH", "LC_ALL", "AV_LOG_FORCE_NOCOLOR", "FONT"}
    assert found["PATH"] == "/usr/bin:/bin"
    assert not any("hunter2" in value or "secret" in value for value in found.values())


@pytest.mark.parametrize("guard", [GUARD, Guard(setpriv=None, prlimit=None)], ids=["guarded", "bare"])
async def test_descriptors_are_not_inherited(stubborn: Stubborn, tmp_path: Path, guard: Guard) -> None:
    """None of our open files but those named, under the same numbers; not even one that says it may be."""
    given, kept = (os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("given", "kept"))
    try:
        os.set_inheritable(kept, True)
        os.pwrite(given, b"of the clip", 0)
        words = ("descriptors", f"read={given}", "exit=0")
        output = await said(stubborn.command(*words, files=(given,), guard=guard))
    finally:
        os.close(given)
        os.close(kept)
    names, content = output.split(b"\n", 1)
    assert {int(name) for name in names.split()} == {0, 1, 2, given}
    assert content == b"of the clip"


async def test_stdin_is_empty(stubborn: Stubborn) -> None:
    """Without ``feed`` a child reads nothing, and never from our terminal."""
    assert await said(stubborn.command("read=0", "say=.")) == b".\n"


async def test_works_in_its_folder(stubborn: Stubborn, tmp_path: Path) -> None:
    """The working folder is the one that was asked for."""
    async with start(stubborn.command("say=up", "hang", folder=tmp_path)) as child:
        await child.read()
        assert Path(f"/proc/{child.pid}/cwd").readlink() == tmp_path


# what is left of it


async def test_nothing_leaks(stubborn: Stubborn) -> None:
    """Fifty children that end well, badly, or are ended, with and without stdin: as many open files as before."""

    async def once(number: int) -> None:
        shell = ("/bin/sh", "-c", f"echo out; echo err >&2; exit {number % 2}", f"marker={stubborn.marker}")
        command = stubborn.command(argv=shell)
        if number % 5 == 4:
            task = asyncio.create_task(run(stubborn.command("hang"), ignore))
            await asyncio.sleep(0.001 * number)
            task.cancel()
            await asyncio.wait([task])
        elif number % 5 == 3:
            async with start(command, feed=True) as child:
                await child.write(b"x")
        elif number % 2:
            with pytest.raises(ChildFailed):
                await run(command, ignore)
        else:
            await run(command, ignore)

    await once(0)
    await asyncio.sleep(0.05)
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names, no paths
    for number in range(50):
        await once(number)
        assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.sleep(0.05)
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_feed(stubborn: Stubborn) -> None:
    """What is written arrives; the end of stdin as well."""
    cat = stubborn.command(argv=("/bin/sh", "-c", "exec cat", f"marker={stubborn.marker}"))
    async with start(cat, feed=True) as child:
        assert await child.write(b"pictures ")
        assert await child.write(memoryview(b"and sound"))
        child.close_input()
        heard = b""
        while data := await child.read():
            heard += data
        assert (await child.wait()).status == 0
    assert heard == b"pictures and sound"


@pytest.mark.parametrize("words", [("close_stdin", "say=up", "hang"), ("say=up", "exit=4")])
async def test_write_to_one_that_no_longer_listens(stubborn: Stubborn, words: tuple[str, ...]) -> None:
    """A closed stdin or a dead child is told as False, again and again, and never as an exception."""
    async with start(stubborn.command(*words), feed=True) as child:
        await child.read()
        end = time.monotonic() + 5
        while await child.write(bytes(100_000)):
            assert time.monotonic() < end
        assert not await child.write(b"more")
        assert not await child.write(b"and more")
        child.close_input()


# when we die


PARENT = """
import asyncio, os, sys
from pathlib import Path
from vcompose.media.child import Command, Guard, start

async def main():
    command = Command(argv=tuple(sys.argv[1:]), folder=Path("/"), guard=Guard.find(os.environ["PATH"]))
    while True:
        async with start(command) as child:
            print((await child.read()).decode(), flush=True)
            {pause}

asyncio.run(main())
"""


@GUARDED
async def test_killed_parent_leaves_no_child(stubborn: Stubborn) -> None:
    """SIGKILL to vcompose: a second later its child is gone."""
    code = PARENT.format(pause="await asyncio.sleep(60)")
    argv = stubborn.command("say=up", "hang").argv
    process = subprocess.Popen([sys.executable, "-c", code, *argv], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "up\n"
        children = [child for child in stubborn.living() if child.pid != process.pid]
        assert [child.ppid() for child in children] == [process.pid]
    finally:
        process.kill()
        process.communicate()
    assert await asyncio.to_thread(none_within, 1.0, stubborn.marker)


@GUARDED
@pytest.mark.parametrize("moment", [0.0, 0.004, 0.011, 0.019, 0.027])
async def test_killed_parent_in_the_middle_of_a_start(stubborn: Stubborn, moment: float) -> None:
    """SIGKILL while children come and go: between fork, guard and program there is no gap."""
    argv = stubborn.command("say=up", "hang").argv
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(pause="pass"), *argv], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for _ in range(2):
            assert await asyncio.to_thread(process.stdout.readline)
        await asyncio.sleep(moment)
    finally:
        process.kill()
        process.communicate()
    assert await asyncio.to_thread(none_within, 1.0, stubborn.marker)


@GUARDED
def test_child_of_a_dead_parent_does_not_begin() -> None:
    """A parent that died before the death signal was armed is missed: the program is not run under another one."""
    wrapped = GUARD.wrap(("/bin/echo", "it ran"), Limits())
    by_us = subprocess.run(wrapped, capture_output=True)
    assert (by_us.returncode, by_us.stdout) == (0, b"it ran\n")
    by_another = subprocess.run(["/bin/sh", "-c", '"$@"; exit "$?"', "sh", *wrapped], capture_output=True)
    assert (by_another.returncode, by_another.stdout) == (125, b"")
