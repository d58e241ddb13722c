"""``vcompose serve``: the composition root of the service. Settings in, everything wired, signals heard."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Final

import structlog
import typer
from pydantic import ValidationError

from vcompose import __version__, assets, logs
from vcompose.cli import BAD_USAGE, FAILED, application, errors
from vcompose.demo import make_samples
from vcompose.jobs.database import StoreError
from vcompose.jobs.service import Limits, Service, open_service
from vcompose.library import tools_of
from vcompose.settings import ServerSettings, server_settings
from vcompose.web.application import build
from vcompose.web.guard import ALWAYS, host_name
from vcompose.web.operation import Options
from vcompose.web.server import Address, listening

log = structlog.get_logger("vcompose.serve")

_BLOCK: Final = 1 << 20
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


class BadSettings(Exception):
    """The settings make no sense; ``str`` is a sentence."""


@application.command(
    short_help="Serve the page and the interface.",
    epilog="Each flag is also a variable (VCOMPOSE_PORT=9000) and a line of the file (port = 9000), in that order."
    " Sizes may be written 500MB or 20GiB. Exit codes: 0 stopped, 1 failed, 2 bad settings, or another server has the"
    " data folder.",
)
def serve(
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings. [VCOMPOSE_CONFIG]")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one. [default: 8080]")] = None,
    data: Annotated[
        Path | None, typer.Option(help="The data folder: clips, films, the database. [default: vcompose-data]")
    ] = None,
    hosts: Annotated[
        str | None,
        typer.Option(help="Further host names that are served, with commas between. [default: localhost alone]"),
    ] = None,
    url_prefix: Annotated[
        str | None, typer.Option(help="The path under which a proxy shows the service, like /films. [default: none]")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Jobs at once. [default: by the cores]")] = None,
    parallel: Annotated[int | None, typer.Option(help="Steps at once, over all jobs. [default: by the cores]")] = None,
    max_upload: Annotated[str | None, typer.Option(help="The largest clip that is taken. [default: 20GiB]")] = None,
    max_body: Annotated[str | None, typer.Option(help="The largest JSON document. [default: 1MiB]")] = None,
    keep_free: Annotated[str | None, typer.Option(help="Disk space that is never filled. [default: 512MiB]")] = None,
    grace: Annotated[
        float | None, typer.Option(help="Seconds that running jobs get when it stops. [default: 30]")
    ] = None,
    slow_request: Annotated[
        float | None, typer.Option(help="Seconds after which a request is warned about. [default: 0.5]")
    ] = None,
    log: Annotated[
        str | None, typer.Option(help="Form of the log: auto, json or text. [default: auto, text on a terminal]")
    ] = None,
    ffmpeg: Annotated[Path | None, typer.Option(help="The ffmpeg to run. [default: the bundled, the system's]")] = None,
    ffprobe: Annotated[Path | None, typer.Option(help="The ffprobe to run. [default: likewise]")] = None,
    allow_old_ffmpeg: Annotated[
        bool | None, typer.Option("--allow-old-ffmpeg", help="Run an ffmpeg with a known hole, for trusted files.")
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="Put sample clips into an empty library, to try everything.")
    ] = False,
) -> None:
    """Serve the page and the interface.

    It listens on this machine alone unless told otherwise. SIGTERM or Ctrl+C: nothing new is taken, running jobs get
    their grace and are then left to the next start; a second signal does not wait.
    """
    with errors(as_json=False):
        try:
            settings = server_settings(
                config, host=host, port=port, data=data, hosts=hosts, url_prefix=url_prefix, jobs=jobs,
                parallel=parallel, max_upload=max_upload, max_body=max_body, keep_free=keep_free, grace=grace,
                slow_request=slow_request, log=log, ffmpeg=ffmpeg, ffprobe=ffprobe, allow_old_ffmpeg=allow_old_ffmpeg,
            )  # fmt: skip
            options = _options(settings)
        except ValidationError as error:
            unknown = [str(one["loc"][0]) for one in error.errors() if one["type"] == "extra_forbidden"]
            if not unknown:
                raise
            _say(f"the settings' file names what is no setting: {', '.join(unknown)}")
            raise typer.Exit(BAD_USAGE) from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, BadSettings) as error:
            _say(f"the settings cannot be used: {error}")
            raise typer.Exit(BAD_USAGE) from error
        logs.log_to(sys.stderr, as_json=settings.log == "json" or (settings.log == "auto" and not sys.stderr.isatty()))
        try:
            asyncio.run(_serve(settings, options, samples=samples))
        except StoreError as error:
            _say(str(error))
            raise typer.Exit(BAD_USAGE if error.code == "in_use" else FAILED) from error
        except OSError as error:
            _say(f"the server cannot listen on {settings.host}:{settings.port}: {error.strerror or error}")
            raise typer.Exit(FAILED) from error


def _options(settings: ServerSettings) -> Options:
    try:
        hosts = frozenset(map(host_name, settings.hosts))
    except ValueError as error:
        raise BadSettings(str(error)) from error
    return Options(hosts=hosts, prefix=settings.url_prefix, most_body=settings.max_body, slow=settings.slow_request)


async def _serve(settings: ServerSettings, options: Options, *, samples: bool) -> None:
    limits = Limits(
        jobs=settings.jobs,
        parallel=settings.parallel,
        upload=settings.max_upload,
        keep_free=settings.keep_free,
        grace=settings.grace,
    )
    tools = await tools_of(settings)
    stop = asyncio.Event()
    async with open_service(settings.data.absolute(), tools, limits) as service:

        def heard() -> None:
            if stop.is_set():
                service.hurry.set()
            stop.set()

        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.add_signal_handler(number, heard)
        if samples:
            await _add_samples(service, settings.data)
        app = build(service, options, static=assets.static(), version=__version__)
        async with listening(app, Address(host=settings.host, port=settings.port)) as port:
            sys.stdout.write(f"vcompose is at {_address(settings.host, port)}\n")
            sys.stdout.flush()
            if settings.host not in ALWAYS and not settings.hosts:
                _say("other machines will be refused until you name the host that they call it by: --hosts NAME")
            if settings.url_prefix:
                _say(f"its own addresses begin with {settings.url_prefix}: a proxy is expected to take that away")
            log.info("listening", host=settings.host, port=port, version=__version__)
            await stop.wait()
            log.info("stopping")
            await service.stop()


def _address(host: str, port: int) -> str:
    """Where a person on this machine finds it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}/"
    if address.is_unspecified:
        address = ipaddress.ip_address("::1" if address.version == 6 else "127.0.0.1")
    return f"http://[{address}]:{port}/" if address.version == 6 else f"http://{address}:{port}/"


async def _add_samples(service: Service, data: Path) -> None:
    if (await service.clips(limit=1)).clips:
        return
    _say("making sample clips ...")
    folder = data / "samples"
    folder.mkdir(exist_ok=True)
    for path in await make_samples(folder):
        async with service.receive(path.name) as incoming:
            with path.open("rb") as file:
                while block := await asyncio.to_thread(file.read, _BLOCK):
                    await incoming.write(block)
            await service.add(incoming)
        path.unlink()
    folder.rmdir()


def _say(text: str) -> None:
    sys.stderr.write(f"vcompose: {text}\n")
