"""Rows of the job table, as values and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vcompose.jobs.job import Failure, Job, Output
from vcompose.jobs.lifecycle import State

COLUMNS: Final = (
    "id, state, percent, stage, seq, attempt, strikes, wish, composition, treatments, created, started, finished, "
    "error_code, error_detail, error_clip, output_filename, output_bytes, output_duration"
)


def of_failure(failure: Failure) -> dict[str, object]:
    """The columns that a failure fills."""
    return {"error_code": failure.code, "error_detail": failure.detail, "error_clip": failure.clip}


def read(row: Sequence[object]) -> Job:
    """A row of :data:`COLUMNS` as a job."""
    (
        id_, state, percent, stage, seq, attempt, strikes, wish, composition, treatments, created, started, finished,
        code, detail, clip, filename, size, duration,
    ) = row  # fmt: skip
    return Job(
        id=str(id_),
        state=State(str(state)),
        percent=integer(percent),
        stage=str(stage),
        seq=integer(seq),
        attempt=integer(attempt),
        strikes=integer(strikes),
        wish=bool(wish),
        composition=str(composition),
        treatments=str(treatments),
        created=number(created),
        started=None if started is None else number(started),
        finished=None if finished is None else number(finished),
        error=None
        if code is None
        else Failure(code=str(code), detail=str(detail), clip=None if clip is None else str(clip)),
        output=None
        if filename is None
        else Output(filename=str(filename), bytes=integer(size), duration=number(duration)),
    )


def integer(value: object) -> int:
    """A column that holds a whole number."""
    assert isinstance(value, int)
    return value


def number(value: object) -> float:
    """A column that holds a number."""
    assert isinstance(value, int | float)
    return float(value)
