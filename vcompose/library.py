"""The library calls: what the command line does, for programs.

    import vcompose

    film = vcompose.join(["a.mp4", "b.mov"], "film.mp4")
    print(film.path, float(film.plan.length), [treated.treatment for treated in film.plan.clips])

Inside a running event loop, await :func:`join_async` instead; cancelling it ends every child and removes every
file that it made before the cancellation goes on. Every error is a :class:`vcompose.media.errors.MediaError` with
``code``, ``detail`` and ``clip``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vcompose.media.clip import Clip
from vcompose.media.command import tool_key
from vcompose.media.composition import Composition, Output, check_count, wanted
from vcompose.media.errors import ClipError, MediaError, PlaceError
from vcompose.media.estimate import Report, Stage
from vcompose.media.executor import LocalExecutor
from vcompose.media.film import flush, produce
from vcompose.media.plan import Plan
from vcompose.media.plan import plan as plan_composition
from vcompose.media.probe import probe as probe_file
from vcompose.media.tasks import together
from vcompose.media.tools import Tools, find_tools
from vcompose.media.workspace import sweep, workspace
from vcompose.settings import Settings, search_path

__all__ = ["Film", "MediaError", "join", "join_async", "look", "plan", "probe", "wanted"]

AnyPath = str | os.PathLike[str]
FILM_SUFFIXES: Final = (".mp4", ".m4v")
_PROBES_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A finished film: where it is, the plan that it came from, its bytes, the wall seconds that it took."""

    path: Path
    plan: Plan
    size: int
    seconds: float


def join(
    clips: Sequence[AnyPath],
    output: AnyPath,
    *,
    wanted: Output | None = None,
    overwrite: bool = False,
    tell: Callable[[Report], None] | None = None,
    settings: Settings | None = None,
) -> Film:
    """Join ``clips`` in their order into the film ``output`` (.mp4); see :func:`join_async`.

    Raises TypeError inside a running event loop: there, await :func:`join_async`.
    """
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise TypeError("vcompose.join runs an event loop of its own: here, await vcompose.join_async")
    work = join_async(clips, output, wanted=wanted, overwrite=overwrite, tell=tell, settings=settings)
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        return asyncio.run(work)
    return asyncio.run(_interruptible(work))


async def _interruptible(work: Coroutine[None, None, Film]) -> Film:
    """Ctrl+C cancels the work. asyncio's own handler would throw a second one into the middle of the cleaning."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(interrupt))
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        task.cancel()

    try:
        return await task
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)


async def join_async(
    clips: Sequence[AnyPath],
    output: AnyPath,
    *,
    wanted: Output | None = None,
    overwrite: bool = False,
    tell: Callable[[Report], None] | None = None,
    settings: Settings | None = None,
) -> Film:
    """Join ``clips`` in their order into the film ``output`` (.mp4).

    ``tell`` hears how far it is, a few times a second, and must return at once. The film gets its name only when
    it was verified; until then nothing but a hidden folder is beside it, removed whatever happens.

    Raises CompositionError, ClipError (naming the clips that cannot be used), PlaceError, ToolError, StepError
    (naming the clip where one is to blame) and VerifyError.
    """
    if isinstance(clips, str | bytes):
        raise TypeError("clips is a sequence of paths, not one path")
    begun = time.monotonic()
    settings = settings or Settings()
    tell = tell or (lambda report: None)
    check_count(clips)
    path = _place(output, clips, overwrite=overwrite)
    await asyncio.to_thread(sweep, path.parent)
    tools = await tools_of(settings)
    planned = await _plan(clips, wanted or Output(), tools)
    film = await _film(planned, path, tools, settings, tell, overwrite=overwrite)
    tell(Report(percent=100, stage=Stage.DONE, speed=None, seconds_left=0.0))
    return replace(film, seconds=time.monotonic() - begun)


async def plan(
    clips: Sequence[AnyPath],
    *,
    wanted: Output | None = None,
    output: AnyPath | None = None,
    settings: Settings | None = None,
) -> Plan:
    """What :func:`join_async` would do, with the reasons; nothing is made. Raises as it does."""
    check_count(clips)
    if output is not None:
        _place(output, clips, overwrite=True)
    return await _plan(clips, wanted or Output(), await tools_of(settings or Settings()))


async def probe(clips: Sequence[AnyPath], *, settings: Settings | None = None) -> list[Clip]:
    """What is in the files. Raises ClipError naming all that cannot be used, ToolError."""
    return await _probe_all(clips, await tools_of(settings or Settings()))


async def tools_of(settings: Settings) -> Tools:
    """The programs that the settings lead to. Raises ToolError."""
    return await find_tools(
        search_path=search_path(),
        ffmpeg=settings.ffmpeg,
        ffprobe=settings.ffprobe,
        allow_old=settings.allow_old_ffmpeg,
    )


async def _plan(clips: Sequence[AnyPath], output: Output, tools: Tools) -> Plan:
    probed = await _probe_all(clips, tools)
    composition = Composition(clips=tuple(probed), output=output)
    return await asyncio.to_thread(plan_composition, composition, tool=tool_key(tools.ffmpeg.version))


async def look(clips: Sequence[AnyPath], *, settings: Settings | None = None) -> list[Clip | ClipError]:
    """What is in each file, or why it cannot be used. Raises ToolError."""
    return await _look(clips, await tools_of(settings or Settings()))


async def _probe_all(clips: Sequence[AnyPath], tools: Tools) -> list[Clip]:
    """What is in the files; all that are refused are told at once."""
    looked = await _look(clips, tools)
    refused = list({id(found): found for found in looked if isinstance(found, ClipError)}.values())
    if refused:
        detail = "\n".join(error.detail for error in refused)
        if len(refused) > 1:
            detail = f"{len(refused)} of {len(clips)} clips cannot be used, and nothing was made:\n{detail}"
        raise ClipError(detail, code=refused[0].code, clip=refused[0].clip, others=tuple(refused[1:]))
    return [found for found in looked if isinstance(found, Clip)]


async def _look(clips: Sequence[AnyPath], tools: Tools) -> list[Clip | ClipError]:
    """Probe each file once, a few at a time."""
    gate = asyncio.Semaphore(_PROBES_AT_ONCE)

    async def one(clip: AnyPath) -> Clip | ClipError:
        async with gate:
            try:
                return await probe_file(Path(clip), tools, name=os.fspath(clip))
            except ClipError as error:
                return error

    different = list(dict.fromkeys(os.fspath(clip) for clip in clips))
    async with together() as group:
        tasks = {clip: group.create_task(one(clip)) for clip in different}
    return [tasks[os.fspath(clip)].result() for clip in clips]


async def _film(
    planned: Plan,
    path: Path,
    tools: Tools,
    settings: Settings,
    tell: Callable[[Report], None],
    *,
    overwrite: bool,
) -> Film:
    """Make the film and give it its name; a copied one that fails its check is made once more, encoded."""
    with workspace(path.parent) as folder:
        executor = LocalExecutor(tools, folder, parallel=settings.parallel)
        planned, made = await produce(planned, folder, executor, tools, tell)
        await asyncio.to_thread(flush, made)
        size = made.stat().st_size
        # not awaited: between here and the film's name no cancel can come
        _give_name(made, path, overwrite=overwrite)
    return Film(path=path, plan=planned, size=size, seconds=0.0)


def _place(output: AnyPath, clips: Sequence[AnyPath], *, overwrite: bool) -> Path:
    """The film's absolute path. Raises PlaceError."""
    try:
        return _checked(Path(output), [Path(clip) for clip in clips], overwrite=overwrite)
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, a link to itself, a folder that is gone
        raise PlaceError(
            f"the film cannot be put at {os.fspath(output)}: {error}", code="output_folder_missing"
        ) from error


def _checked(output: Path, clips: Sequence[Path], *, overwrite: bool) -> Path:
    """The film's absolute path. Raises PlaceError."""
    if not output.name or output.is_dir():
        raise PlaceError(f"{output} is a folder: give the film a name, like {output / 'film.mp4'}", code="output_type")
    if output.suffix.lower() not in FILM_SUFFIXES:
        raise PlaceError(f"the film is an MP4 file: call it {output.with_suffix('.mp4').name}", code="output_type")
    path = output.parent.resolve() / output.name
    if not path.parent.is_dir():
        raise PlaceError(f"there is no folder {path.parent}: make it first", code="output_folder_missing")
    if path.exists() or path.is_symlink():
        for clip in clips:
            if clip.exists() and path.exists() and clip.samefile(path):
                raise PlaceError(
                    f"{output} is one of the clips: give the film another name",
                    code="output_is_input",
                    clip=str(clip),
                )
        if not overwrite:
            raise PlaceError(_exists(output), code="output_exists")
    return path


def _exists(output: Path) -> str:
    return f"{output} is there already: give the film another name, or allow it to be replaced (--overwrite)"


def _give_name(film: Path, path: Path, *, overwrite: bool) -> None:
    """The last act. Without ``overwrite`` a file that came meanwhile is not replaced."""
    try:
        if overwrite:
            film.replace(path)
            return
        try:
            path.hardlink_to(film)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if path.exists():
                raise FileExistsError from None
            film.replace(path)
    except FileExistsError as error:
        raise PlaceError(_exists(path), code="output_exists") from error
    except OSError as error:
        raise PlaceError(f"the film cannot be put at {path}: {error.strerror}", code="output_not_writable") from error
