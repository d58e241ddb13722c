"""A cancelled join leaves nothing: no process, no file but its inputs, no traceback. The command line, for real.

Every process of a run is known by a resource limit (of message queues, which nobody here uses): children inherit it
through fork, exec, guards and sessions, whatever their arguments, folder and environment are.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import psutil
import pytest
from conftest import MakeClip

from vcompose import join_async, library
from vcompose.media import film, probe
from vcompose.media.estimate import Report, Stage
from vcompose.media.workspace import PREFIX, link_clips

INTERRUPTED = 130
GONE_SECONDS = 1.0
GOODBYE_SECONDS = 5.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)
JOIN = ("-m", "vcompose", "join")
LIBRARY = ("-c", "import sys, vcompose; vcompose.join(sys.argv[1:-2], sys.argv[-1])")

pytestmark = [
    pytest.mark.serial,  # it measures seconds, so it runs alone
    pytest.mark.skipif(not hasattr(psutil, "RLIMIT_MSGQUEUE"), reason="resource limits of others: Linux only"),
]
_numbers = count(1)


class Run:
    """One ``vcompose join`` in a folder of its own, and every process that belongs to it."""

    def __init__(self, folder: Path, clips: Sequence[Path], *options: str, program: Sequence[str] = JOIN) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.inputs = {"film.log", *(f"{number}-{clip.name}" for number, clip in enumerate(clips))}
        for number, clip in enumerate(clips):
            target = folder / f"{number}-{clip.name}"
            if not target.exists():
                shutil.copy(clip, target)
        self.log = folder / "film.log"
        names = sorted(name for name in self.inputs if name != "film.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, *names, "-o", "film.mp4", *options],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        self.begun = time.monotonic()
        # long before it starts a child: the interpreter takes tens of milliseconds
        self.badge = 700_000 - os.getpid() % 500 * 1000 - next(_numbers)
        psutil.Process(self.process.pid).rlimit(psutil.RLIMIT_MSGQUEUE, (self.badge, self.badge))

    @property
    def said(self) -> str:
        """What it wrote to stderr."""
        return self.log.read_text(errors="replace")

    def living(self) -> list[str]:
        """Its processes, itself included, zombies excepted."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.rlimit(psutil.RLIMIT_MSGQUEUE)[1] == self.badge
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
            except psutil.Error:
                continue
        return found

    def children(self) -> list[psutil.Process]:
        """The programs that it runs now."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def encoding(self) -> psutil.Process:
        """One of its children that works in the workspace; waits until there is one."""
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            for child in self.children():
                try:
                    # between fork and exec a child is still a copy of us
                    if PREFIX in child.cwd() and "ffmpeg" in Path(child.exe()).name:
                        return child
                except psutil.Error:
                    continue
            time.sleep(0.005)
        raise AssertionError(f"nothing was encoded: {self.said}")

    def reached(self, percent: int) -> None:
        """Wait until it says that so much is done (it speaks once for each ten)."""
        self.encoding()
        while max([-1, *map(int, re.findall(r"(\d+) %", self.said))]) < percent:
            assert self.process.poll() is None, self.said
            time.sleep(0.005)

    def sleep_until(self, moment: float) -> None:
        """Seconds since its start."""
        time.sleep(max(0.0, self.begun + moment - time.monotonic()))

    def signal(self, *signals: int, pause: float = 0.0) -> float:
        """Send signals with a pause between them; gives the moment of the first."""
        sent = time.monotonic()
        for turn, number in enumerate(signals):
            if turn:
                time.sleep(pause)
            if self.process.poll() is None:
                self.process.send_signal(number)
        return sent

    def gone(self, sent: float) -> int:
        """The exit status. No child lives a second after the signal; Python itself may take longer to say goodbye on
        a busy machine.
        """
        self.wait_until(sent + GONE_SECONDS, lambda: [one for one in self.living() if "-m vcompose" not in one])
        self.wait_until(sent + GOODBYE_SECONDS, self.living)
        return self.process.wait()

    def wait_until(self, end: float, left: Callable[[], list[str]]) -> None:
        """Wait until nothing is left, at most until ``end``."""
        while (living := left()) and time.monotonic() < end:
            self.process.poll()
            time.sleep(0.005)
        assert not living, f"still there: {living}"

    def left(self) -> set[str]:
        """What is in the folder beside its inputs and its log."""
        return set(os.listdir(self.folder)) - self.inputs  # noqa: PTH208 - names, no paths

    def ended_well(self, sent: float, *signals: int) -> str:
        """Judge how a run ended that was sent signals: "interrupted", "early" (killed by the signal before it had
        begun) or "finished".
        """
        status = self.gone(sent)
        if "Traceback" in self.said:
            # Python itself was interrupted in its start, before it ran a line of vcompose: nobody can help that
            assert "vcompose" not in self.said, self.said
            assert self.left() == set()
            return "early"
        assert "Exception" not in self.said, self.said
        if status == 0:
            assert self.left() == {"film.mp4"}
            return "finished"
        assert self.left() == set()
        if status in {-number for number in signals}:
            assert self.said == ""
            return "early"
        assert status == INTERRUPTED, f"{status}: {self.said}"
        assert "interrupted, nothing was left behind" in self.said
        return "interrupted"

    def close(self) -> None:
        """End it, whatever the test came to."""
        self.process.kill()
        self.process.wait()


StartRun = Callable[..., Run]


@pytest.fixture(scope="module")
def clips(make_clip: MakeClip) -> list[Path]:
    """Clips of different kinds, so that all are encoded, and long enough for seconds of work."""
    return [
        make_clip("a.mp4", size="640x360", rate="30", seconds=8, seed=1),
        make_clip("b.mp4", size="360x640", rate="25", seconds=7, seed=2, sound=44_100),
        make_clip("c.avi", size="640x360", rate="24", seconds=6, seed=3, codec="mpeg4", sound=None),
        make_clip("d.mkv", size="480x360", rate="30000/1001", seconds=6, seed=4, channels=1),
    ]


@pytest.fixture(scope="module")
def short(make_clip: MakeClip) -> list[Path]:
    """Clips that are joined in no time."""
    return [make_clip("e.mp4", seconds=1, seed=5), make_clip("f.mp4", seconds=1, seed=6)]


@pytest.fixture
def start_run(tmp_path: Path) -> Iterator[StartRun]:
    """Start runs; none outlives the test."""
    runs: list[Run] = []

    def begin(name: str, clips: Sequence[Path], *options: str, program: Sequence[str] = JOIN) -> Run:
        run = Run(tmp_path / name, clips, *options, program=program)
        runs.append(run)
        return run

    yield begin
    for run in runs:
        run.close()


@pytest.fixture(scope="module")
def whole(clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds that a run takes when nobody interrupts it and another one runs beside it."""
    runs = [Run(tmp_path_factory.mktemp("whole") / str(number), clips) for number in range(2)]
    try:
        for run in runs:
            assert run.process.wait(60) == 0, run.said
            assert run.left() == {"film.mp4"}
        return time.monotonic() - runs[0].begun
    finally:
        for run in runs:
            run.close()


@pytest.mark.parametrize("tenth", range(10))
def test_a_signal_at_any_moment(start_run: StartRun, clips: list[Path], whole: float, tenth: int) -> None:
    """SIGINT to one run and SIGTERM to another, at ten moments of its whole time: gone within a second."""
    moment = whole * tenth / 10
    runs = [start_run(number.name, clips) for number in SIGNALS]
    sent = []
    for run, number in zip(runs, SIGNALS, strict=True):
        run.sleep_until(moment)
        sent.append(run.signal(number))
    for run, at, number in zip(runs, sent, SIGNALS, strict=True):
        run.ended_well(at, number)


@pytest.mark.parametrize(("pause", "part"), [(0.0, 0.15), (0.001, 0.25), (0.004, 0.4), (0.012, 0.55), (0.03, 0.7)])
def test_a_second_signal(start_run: StartRun, clips: list[Path], whole: float, pause: float, part: float) -> None:
    """An impatient second signal, while the first is being obeyed, changes nothing; nor does a third."""
    orders = ((signal.SIGINT,) * 3, (signal.SIGTERM, signal.SIGINT, signal.SIGTERM))
    runs = [start_run(str(number), clips) for number in range(2)]
    sent = []
    for run, order in zip(runs, orders, strict=True):
        run.sleep_until(whole * part)
        sent.append(run.signal(*order, pause=pause))
    for run, at in zip(runs, sent, strict=True):
        run.ended_well(at, *SIGNALS)


def test_a_signal_during_the_start(start_run: StartRun, short: list[Path]) -> None:
    """While the interpreter imports vcompose an interrupt ends it at once, and no traceback is shown."""
    for number in range(10):
        run = start_run(str(number), short)
        run.sleep_until(0.08 + number * 0.03)
        run.ended_well(run.signal(signal.SIGINT), signal.SIGINT)


def test_a_signal_while_a_child_is_stopped(start_run: StartRun, clips: list[Path]) -> None:
    """Ctrl+C ends a child that does not run (SIGSTOP) as well."""
    run = start_run("stopped", clips)
    run.encoding().suspend()
    time.sleep(0.1)
    assert run.ended_well(run.signal(signal.SIGINT), signal.SIGINT) == "interrupted"


@pytest.mark.parametrize("pause", [None, 0.0, 0.002, 0.01])
def test_interrupt_of_a_program_that_uses_the_library(
    start_run: StartRun, clips: list[Path], pause: float | None
) -> None:
    """Ctrl+C, once or twice, under ``vcompose.join``: KeyboardInterrupt for the program, and nothing left."""
    run = start_run("library", clips, program=LIBRARY)
    run.encoding()
    signals = [signal.SIGINT] if pause is None else [signal.SIGINT] * 2
    assert run.gone(run.signal(*signals, pause=pause or 0.0)) == -signal.SIGINT
    assert run.left() == set()
    assert run.said.rstrip().endswith("KeyboardInterrupt")


def test_a_signal_with_json(start_run: StartRun, clips: list[Path]) -> None:
    """The document on stdout is not what matters here: the exit status and the silence are the same."""
    run = start_run("json", clips, "--json")
    run.encoding()
    assert run.ended_well(run.signal(signal.SIGTERM), signal.SIGTERM) == "interrupted"


def test_an_old_film_stays(start_run: StartRun, clips: list[Path], tmp_path: Path) -> None:
    """Interrupted with ``--overwrite``, the film that was there is untouched."""
    film_before = tmp_path / "old" / "film.mp4"
    film_before.parent.mkdir()
    film_before.write_bytes(b"the old film")
    run = start_run("old", clips, "--overwrite")
    run.encoding()
    sent = run.signal(signal.SIGINT)
    assert run.gone(sent) == INTERRUPTED
    assert run.left() == {"film.mp4"}
    assert film_before.read_bytes() == b"the old film"


@pytest.mark.parametrize("percent", [0, 30, 70])
def test_killed(start_run: StartRun, clips: list[Path], short: list[Path], percent: int) -> None:
    """SIGKILL: no child a second later; the next join beside it removes what the dead one left, and succeeds."""
    run = start_run("killed", clips)
    run.reached(percent)
    run.gone(run.signal(signal.SIGKILL))
    left = run.left()
    assert [name[: len(PREFIX)] for name in left] == [PREFIX]
    after = start_run("killed", short)
    assert after.process.wait(30) == 0, after.said
    assert after.left() - run.inputs == {"film.mp4"}


def test_killed_beside_a_living_one(start_run: StartRun, clips: list[Path], short: list[Path]) -> None:
    """A join that sweeps spares the folder of one that is at work in the same place, even a stopped one."""
    worker = start_run("together", clips)
    worker.encoding()
    worker.process.send_signal(signal.SIGSTOP)
    other = subprocess.run(
        [sys.executable, "-m", "vcompose", "join", *map(str, short), "-o", "other.mp4"],
        cwd=worker.folder, capture_output=True, timeout=60,
    )  # fmt: skip
    assert other.returncode == 0, other.stderr.decode()
    assert len([name for name in worker.left() if name.startswith(PREFIX)]) == 1
    worker.process.send_signal(signal.SIGCONT)
    assert worker.process.wait(60) == 0, worker.said
    assert worker.left() == {"film.mp4", "other.mp4"}


def test_a_signal_while_another_program_holds_the_folder(
    start_run: StartRun, short: list[Path], tmp_path: Path
) -> None:
    """A lock on the output folder that somebody else keeps must not make a join that cannot be interrupted."""
    folder = tmp_path / "held"
    folder.mkdir()
    door = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(door, fcntl.LOCK_EX)
        run = start_run("held", short)
        run.sleep_until(1.5)
        run.ended_well(run.signal(signal.SIGINT), signal.SIGINT)
    finally:
        os.close(door)


def test_the_terminal_is_closed(start_run: StartRun, clips: list[Path]) -> None:
    """SIGHUP, which a closed terminal sends, leaves no folder either."""
    run = start_run("hangup", clips)
    run.encoding()
    assert run.gone(run.signal(signal.SIGHUP)) in (INTERRUPTED, -signal.SIGHUP)
    assert run.left() == set()


def test_an_ignored_signal_stays_ignored(start_run: StartRun, short: list[Path]) -> None:
    """Started with SIGINT ignored (a job in the background of a script), Ctrl+C is meant for somebody else."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = start_run("background", short)
    finally:
        signal.signal(signal.SIGINT, before)
    while not run.children() and run.process.poll() is None:
        time.sleep(0.002)
    run.signal(signal.SIGINT)
    assert run.process.wait(30) == 0
    assert run.left() == {"film.mp4"}


def test_a_signal_while_nobody_reads_the_output(short: list[Path]) -> None:
    """When the work is done and its words wait for a reader who does not read, a signal still ends it."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(1 << 16))
        os.set_blocking(writer, True)
        process = subprocess.Popen([sys.executable, "-m", "vcompose", "probe", str(short[0])], stdout=writer)
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(2)
            process.terminate()
            process.wait(GONE_SECONDS)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(reader)
        os.close(writer)


# the same in a program that has a loop of its own


class Here:
    """A join in this process, and what it leaves in this process."""

    def __init__(self, folder: Path, clips: Sequence[Path]) -> None:
        self._folder = folder
        self._clips = clips
        self._tasks = asyncio.all_tasks()
        self._files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names, no paths

    def join(self, tell: Callable[[Report], None] | None = None) -> asyncio.Task[library.Film]:
        """Begin."""
        return asyncio.create_task(join_async(self._clips, self._folder / "film.mp4", tell=tell))

    async def left_nothing(self) -> None:
        """No child and no task at once; no file and no descriptor as soon as the threads are at rest."""
        zombies = {psutil.STATUS_ZOMBIE}
        assert [p for p in psutil.Process().children(recursive=True) if p.status() not in zombies] == []
        assert asyncio.all_tasks() == self._tasks
        assert list(self._folder.iterdir()) == []
        await asyncio.get_running_loop().shutdown_default_executor()
        await asyncio.sleep(0.02)
        assert list(self._folder.iterdir()) == []
        assert len(os.listdir("/proc/self/fd")) <= self._files + 2  # noqa: PTH208 - epoll's and the pool's own


@pytest.mark.parametrize("percent", [0, 5, 25, 50, 75])
async def test_cancel_in_process(tmp_path: Path, clips: list[Path], percent: int) -> None:
    """``task.cancel()``, and again in the ending: the cancellation goes on when nothing is left."""
    here = Here(tmp_path, clips)
    reached = asyncio.Event()

    def tell(report: Report) -> None:
        if report.percent >= percent:
            reached.set()

    task = here.join(tell)
    await reached.wait()
    begun = time.monotonic()
    task.cancel()
    await asyncio.sleep(percent / 10_000)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < GONE_SECONDS
    await here.left_nothing()


@pytest.mark.parametrize("stage", [Stage.ENCODING, Stage.SOUND, Stage.JOINING, Stage.VERIFYING])
async def test_cancel_in_every_stage(tmp_path: Path, short: list[Path], make_clip: MakeClip, stage: Stage) -> None:
    """Cancelled by its own listener as soon as a stage begins."""
    # a sound that is made beside an encoding is told as that, and may be ready before it
    odd = [] if stage is Stage.SOUND else [make_clip("g.mp4", size="320x180", rate="30", seconds=1, seed=7)]
    here = Here(tmp_path, [*short, *odd])
    told: list[Stage] = []

    def tell(report: Report) -> None:
        told.append(report.stage)
        if report.stage is stage:
            task.cancel()

    task = here.join(tell)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told[-1] is stage
    await here.left_nothing()


async def test_cancel_in_the_first_turns(tmp_path: Path, short: list[Path]) -> None:
    """Cancelled after so many turns of the loop, before or while the first programs are started."""
    here = Here(tmp_path, short)
    for turns in range(0, 60, 3):
        task = here.join()
        for _ in range(turns):
            await asyncio.sleep(0 if turns % 2 else 0.0005)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await here.left_nothing()


async def test_cancel_while_clips_are_opened(short: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a thread opens for a cancelled join is closed again."""
    opened: list[int] = []
    really = probe._open

    def slow(path: Path, name: str) -> int:
        time.sleep(0.2)
        opened.append(really(path, name))
        return opened[-1]

    monkeypatch.setattr(probe, "_open", slow)
    task = asyncio.create_task(library.probe(short))
    await asyncio.sleep(0.15)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.get_running_loop().shutdown_default_executor()
    left = [file for file in opened if Path(os.path.realpath(f"/proc/self/fd/{file}")) in short]
    for file in left:
        os.close(file)
    assert not left


async def test_cancel_while_clips_are_linked(
    tmp_path: Path, short: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that still makes links for a cancelled join does not keep its folder alive."""

    def slow(place: Path, links: Sequence[tuple[str, Path]]) -> None:
        begun.append(place)
        for link in links:
            time.sleep(0.1)
            link_clips(place, [link])

    begun: list[Path] = []
    monkeypatch.setattr(film, "link_clips", slow)
    here = Here(tmp_path, short)
    task = here.join()
    while not begun:
        await asyncio.sleep(0.01)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await here.left_nothing()
