"""The command line: words in, words out. The work is the library's.

Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from vcompose import __version__, library, words
from vcompose.demo import make_samples
from vcompose.media import wire
from vcompose.media.clip import Clip
from vcompose.media.composition import Fit, Mode, Quality
from vcompose.media.errors import CompositionError, MediaError, PlaceError
from vcompose.media.plan import Plan
from vcompose.show import Show

_T = TypeVar("_T")

FAILED: Final = 1
BAD_USAGE: Final = 2
INTERRUPTED: Final = 130
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

application = typer.Typer(
    name="vcompose",
    help="Join people's videos into one film: copied untouched where all fit, encoded where they do not.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_out = Console(highlight=False, markup=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


class _Interrupted(Exception):
    """A signal asked us to stop, and everything was cleaned up."""


def _version(wanted: bool) -> None:
    if wanted:
        _out.print(f"vcompose {__version__}")
        raise typer.Exit


@application.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    del version
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show must not end in a traceback
            stream.reconfigure(errors="backslashreplace")


JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, also for an error.")]


@application.command(
    short_help="Join two or more videos into one film.",
    epilog="Examples: vcompose join beach.mp4 'party (1).mov' -o holiday.mp4 |"
    " vcompose join *.mp4 --plan | vcompose join a.mp4 b.mp4 -o film.mp4 --fit blur --size 1920x1080."
    " Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted.",
)
def join(
    clips: Annotated[
        list[Path], typer.Argument(help="Two or more videos, in the order of the film.", metavar="CLIP...")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The film to make, an .mp4 file. [needed, but for --plan]", metavar="OUT"),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="Size of the film, like 1920x1080. [default: what most clips have]", metavar="WxH"),
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(
            help="Frame rate, like 25 or 30000/1001. [default: what most clips have, of a mixture the fastest]",
            metavar="N",
        ),
    ] = None,
    fit: Annotated[
        Fit,
        typer.Option(
            help="Clips of another shape: contain (bars), cover (cuts the edges), blur (blurred bars), stretch.",
            show_default=True,
        ),
    ] = Fit.CONTAIN,
    quality: Annotated[
        Quality, typer.Option(help="Of encoded pictures: low (small file), medium, high (large file).")
    ] = Quality.MEDIUM,
    mode: Annotated[
        Mode, typer.Option(help="auto copies where it can, copy refuses to encode, encode never copies.")
    ] = Mode.AUTO,
    plan: Annotated[bool, typer.Option("--plan", help="Only explain what would be done; make nothing.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there already.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Join two or more videos into one film.

    If all clips are of one kind, their pictures are copied bit for bit; if one is not, all are encoded to what most
    of them are. --plan tells which. The sound stays with its picture. The film is checked before it gets its name.
    Ctrl+C stops at once and leaves nothing.
    """
    with errors(as_json=as_json):
        wanted = library.wanted(size=size, fps=fps, fit=fit, quality=quality, mode=mode)
        if plan:
            planned = _run(library.plan(clips, wanted=wanted, output=output))
            if as_json:
                _json(wire.plan(planned))
            else:
                _explain(planned, made=False)
                _out.print("nothing was made, this is the plan")
            return
        if output is None:
            raise PlaceError("the film needs a name: say where it goes, like -o film.mp4", code="output_missing")
        with Show(_err, quiet=as_json) as show:
            film = _run(library.join_async(clips, output, wanted=wanted, overwrite=overwrite, tell=show.report), done=0)
        if as_json:
            told = wire.film(film.plan)
            _json({"output": str(film.path), "bytes": film.size, "seconds": round(film.seconds, 3), **told})
        else:
            _tell(film)


@application.command(epilog="Example: vcompose probe *.mp4", short_help="Say what is in video files.")
def probe(
    clips: Annotated[list[Path], typer.Argument(help="Files to look into.", metavar="CLIP...")],
    as_json: JsonFlag = False,
) -> None:
    """Say what is in video files.

    Size as shown, rate, codecs, sound, and the duration as measured from the packets.
    """
    with errors(as_json=as_json):
        looked = _run(library.look(clips))
        refused = [found for found in looked if isinstance(found, MediaError)]
        found = [one for one in looked if not isinstance(one, MediaError)]
        if as_json:
            document: dict[str, object] = {"clips": [wire.clip(clip) for clip in found]}
            if refused:
                document |= {"error": wire.error(refused[0]), "errors": [wire.error(error) for error in refused]}
            _json(document)
        else:
            for clip in found:
                _describe(clip)
        for error in refused:
            _err.print(f"vcompose: {words.printable(error.detail)}")
        if refused:
            raise typer.Exit(FAILED)


def _describe(clip: Clip) -> None:
    picture, sound = clip.picture, clip.sound
    notes = [f"{words.fps(picture.rate)} fps" + (" (uneven)" if picture.variable else "")]
    notes += [f"turned by {picture.rotation}°"] if picture.rotation else []
    notes += ["interlaced"] if picture.fields != "progressive" else []
    notes += [f"HDR ({picture.color.hdr.upper()})"] if picture.color.hdr else []
    heard = f"{sound.codec} {sound.rate} Hz, {words.channels(sound.channels)}" if sound else "no sound"
    _out.print(words.printable(clip.name))
    _out.print(f"    {clip.container}, {words.size(clip.size)}, {words.duration(float(clip.length))}")
    _out.print(f"    {picture.codec} {picture.shown}, {', '.join(notes)}")
    _out.print(f"    {heard}")
    for code in clip.warnings:
        _out.print(f"    warning: {words.warning(code)}")


@application.command(short_help="Make sample clips and join them: to see that everything works.")
def demo(
    folder: Annotated[Path, typer.Option(help="Where the sample clips and the film are put.", metavar="FOLDER")] = Path(
        "vcompose-demo"
    ),
) -> None:
    """Make sample clips of different kinds, and join them: to see that everything works."""
    with errors(as_json=False):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror
            raise PlaceError(f"the folder {folder} cannot be made: {why}", code="output_folder_missing") from error
        _err.print("making sample clips ...")
        clips = _run(make_samples(folder))
        with Show(_err, quiet=False) as show:
            film = _run(library.join_async(clips, folder / "sample-film.mp4", overwrite=True, tell=show.report), done=0)
        _tell(film)


def _explain(plan: Plan, *, made: bool) -> None:
    _out.print(f"film: {words.film(plan)}")
    if (summary := words.summary(plan)) is not None:
        _out.print(summary)
    for number, treated in enumerate(plan.clips, 1):
        _out.print(f"{number:3d}. {words.printable(treated.clip.name)}  ({words.duration(float(treated.length))})")
        _out.print(f"     {words.treatment(treated, made=made)}")
        for code in treated.clip.warnings:
            _out.print(f"     warning: {words.warning(code)}")


def _tell(film: library.Film) -> None:
    _explain(film.plan, made=True)
    _out.print(f"made in {words.duration(film.seconds)}, {words.size(film.size)}: {words.printable(str(film.path))}")


def _json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def errors(*, as_json: bool) -> Any:
    """Errors become a sentence on stderr (and a document on stdout with --json) and an exit code."""
    try:
        yield
    except MediaError as error:
        if as_json:
            _json({"error": wire.error(error)})
        _err.print(f"vcompose: {words.printable(error.detail)}")
        _exit(BAD_USAGE if isinstance(error, CompositionError | PlaceError) else FAILED, error)
    except ValidationError as error:
        first = error.errors()[0]
        setting = f"VCOMPOSE_{'_'.join(map(str, first['loc'])).upper()}"
        detail = f"the setting {setting} is wrong: {first['msg']}"
        if as_json:
            _json({"error": {"code": "bad_setting", "detail": detail, "clip": None}})
        _err.print(f"vcompose: {words.printable(detail)}")
        _exit(BAD_USAGE, error)
    except _Interrupted as error:
        if as_json:
            _json(
                {
                    "error": {
                        "code": "interrupted",
                        "detail": "interrupted: nothing was left behind",
                        "clip": None,
                    }
                }
            )
        _err.print("vcompose: interrupted, nothing was left behind")
        _exit(INTERRUPTED, error)


def _exit(code: int, error: Exception) -> NoReturn:
    raise typer.Exit(code) from error


def _run(work: Coroutine[Any, Any, _T], *, done: int = INTERRUPTED) -> _T:
    """Run to the end, or until SIGINT or SIGTERM: then cancel, wait until everything is cleaned up, and say so.

    Further signals change nothing: the cleaning kills, it does not ask, and is over in milliseconds. One that comes
    when the work is done and only its words are left to be said ends the process with the exit code ``done``.
    """

    stopped = False
    heeded = [number for number in _STOPPING if signal.getsignal(number) is not signal.SIG_IGN]

    async def supervised() -> _T:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)

        def stop() -> None:
            nonlocal stopped
            if not stopped:
                stopped = True
                task.cancel()

        # not add_signal_handler: its removal lets a signal through before the next handler is there
        for number in heeded:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
        try:
            return await task
        except asyncio.CancelledError:
            if stopped:
                raise _Interrupted from None
            raise
        finally:
            # from here on nothing is running: an impatient second signal must not spoil the exit code
            for number in heeded:
                signal.signal(number, signal.SIG_IGN)

    try:
        return asyncio.run(supervised())
    finally:
        if not stopped:
            for number in heeded:
                signal.signal(number, lambda *_: os._exit(done))
