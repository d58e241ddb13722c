"""Progress for people: a bar on a terminal, a plain line for each tenth elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from vcompose import words
from vcompose.media.estimate import Report


class Show:
    """Shows reports on a console; used as a context manager around the work."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._said = -1

    def __enter__(self) -> Self:
        if not self._quiet and self._console.is_terminal and not self._console.is_dumb_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[rest]}"),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("looking into the clips", total=100, rest="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def report(self, report: Report) -> None:
        """Show one report."""
        rest = _rest(report)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=report.percent, description=words.stage(report.stage), rest=rest)
        elif not self._quiet and report.percent // 10 > self._said // 10:
            self._said = report.percent
            self._console.print(f"{report.percent:3d} %  {words.stage(report.stage)}  {rest}".rstrip())


def _rest(report: Report) -> str:
    parts = []
    if report.speed is not None:
        parts.append(f"{report.speed:.1f}x")
    if report.seconds_left is not None and report.seconds_left >= 1 and report.percent < 99:
        parts.append(f"{words.duration(round(report.seconds_left))} left".replace(".00", ""))
    return "  ".join(parts)
