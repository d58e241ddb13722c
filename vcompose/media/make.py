"""Make the output of one step: :func:`run_step`, the unit that can run here or on another machine.

Each output is written as ``NAME.part`` and renamed on success alone; only exit status 0 is success. Whatever ends
the step otherwise (failure, cancel), no child is left; the ``.part`` goes with the workspace, or with the next try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vcompose.media import command
from vcompose.media.child import Child, Command, Ended, run, start, succeeded
from vcompose.media.errors import StepError
from vcompose.media.mp4 import BrokenIndex, read_index
from vcompose.media.progress import Parser
from vcompose.media.step import EncodeStep, JoinStep, SoundPiece, SoundStep, Step
from vcompose.media.tools import Tools

Emit = Callable[[float], None]
"""Hears which part of a step is done, from 0 to 1; it must return at once."""

_SILENCE: Final = bytes(1 << 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """Where steps are made: the programs, the workspace, threads a step may use (0: ffmpeg chooses)."""

    tools: Tools
    folder: Path
    threads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A step's output: its file's bytes, and the wall seconds that it took."""

    size: int
    seconds: float


async def run_step(step: Step, emit: Emit, shop: Shop) -> Made:
    """Make a step's output in the workspace; one that is there already is not made again.

    Raises StepError (with the position of the clip to blame where there is one), ToolError.
    """
    output = shop.folder / step.output
    if output.exists():
        emit(1.0)
        return Made(size=output.stat().st_size, seconds=0.0)
    part = output.with_name(f"{output.name}.part")
    try:
        if isinstance(step, EncodeStep):
            seconds = await _encode(step, emit, shop, part)
        elif isinstance(step, SoundStep):
            seconds = await _sound(step, emit, shop, part)
        else:
            seconds = await _join(step, emit, shop, part)
    except StepError as error:
        if "No space left on device" in error.stderr or "File too large" in error.stderr:
            raise StepError(
                f"there is no room left in {shop.folder.parent}: free some and join again",
                code="no_space",
                status=error.status,
                stderr=error.stderr,
            ) from error
        raise
    try:
        part.replace(output)
        size = output.stat().st_size
    except FileNotFoundError as error:
        raise StepError(f"{shop.folder.parent} was removed while a film was made in it", code="place_gone") from error
    emit(1.0)
    return Made(size=size, seconds=seconds)


async def _encode(step: EncodeStep, emit: Emit, shop: Shop, part: Path) -> float:
    parser = Parser()

    def hear(data: bytes) -> None:
        # not out_time: it follows the furthest stream, goes backwards, and is N/A while the encoder flushes
        frames = [block.frame for block in parser.feed(data) if block.frame is not None]
        if frames:
            emit(min(1.0, frames[-1] / step.frames))

    try:
        ended = await run(_command(shop, command.encode(step, part.name, shop.threads)), hear)
        made = await asyncio.to_thread(_pictures, part)
    except StepError as error:
        error.place = step.clip
        raise
    if made != step.frames:
        raise StepError(
            f"only {made} of {step.frames} pictures could be made", code="pictures_missing", place=step.clip,
            status=ended.status, stderr=ended.stderr,
        )  # fmt: skip
    return ended.seconds


def _pictures(part: Path) -> int:
    try:
        with part.open("rb") as file:
            return sum(track.samples for track in read_index(file).of("vide"))
    except (BrokenIndex, FileNotFoundError):
        return 0


async def _sound(step: SoundStep, emit: Emit, shop: Shop, part: Path) -> float:
    """One encoder for the whole film, fed with decoded sound one clip at a time: one decoder lives at once."""
    encoder = _command(shop, command.sound_out(step, part.name))
    poured = 0
    async with start(encoder, feed=True) as drain:

        async def pour(data: bytes | memoryview) -> None:
            nonlocal poured
            if not await drain.write(data):
                raise _encoder_gone(succeeded(encoder, await drain.wait()))
            poured += len(data)
            emit(min(1.0, poured / (step.samples * command.SAMPLE_BYTES)))

        for piece in step.pieces:
            left = piece.samples * command.SAMPLE_BYTES
            if piece.source is not None:
                left = await _pour_clip(piece, step.rate, shop, pour_to=pour)
            while left > 0:
                silence = memoryview(_SILENCE)[:left]
                await pour(silence)
                left -= len(silence)
        drain.close_input()
        ended = succeeded(encoder, await drain.wait())
    return ended.seconds


async def _pour_clip(
    piece: SoundPiece, rate: int, shop: Shop, *, pour_to: Callable[[bytes | memoryview], Awaitable[None]]
) -> int:
    """Pour one clip's sound, cut where its picture ends; gives the bytes that are still missing at its end."""
    left = piece.samples * command.SAMPLE_BYTES
    decoder = _command(shop, command.sound_in(piece, rate))
    async with start(decoder) as tap:
        while left > 0 and (data := await tap.read()):
            await pour_to(memoryview(data)[:left])
            left -= len(data)
        if left > 0:
            await _ended_well(tap, decoder, piece)
    return max(0, left)


async def _ended_well(tap: Child, decoder: Command, piece: SoundPiece) -> None:
    try:
        succeeded(decoder, await tap.wait())
    except StepError as error:
        error.place = piece.clip
        raise


def _encoder_gone(ended: Ended) -> StepError:
    return StepError("the sound's encoder ended too early", status=ended.status, stderr=ended.stderr)


async def _join(step: JoinStep, emit: Emit, shop: Shop, part: Path) -> float:
    script = part.with_suffix(".list")
    script.write_text(command.listing(step.pictures), encoding="ascii")
    parser = Parser()

    def hear(data: bytes) -> None:
        seconds = [block.seconds for block in parser.feed(data) if block.seconds is not None]
        if seconds:
            emit(min(1.0, max(0.0, seconds[-1] / float(step.length))))

    return (await run(_command(shop, command.join(step, script.name, part.name)), hear)).seconds


def _command(shop: Shop, arguments: tuple[str, ...]) -> Command:
    return Command(argv=(shop.tools.ffmpeg.path, *arguments), folder=shop.folder, guard=shop.tools.guard)
