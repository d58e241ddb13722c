"""The wiring of the web: one place where it can be seen what is called under which address, and in which order."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Final

from aiohttp import web

from vcompose.jobs.service import Service
from vcompose.web import clips, compositions, live, watching
from vcompose.web.answers import answered
from vcompose.web.guard import guard, stricter
from vcompose.web.metrics import METRICS, Metrics
from vcompose.web.openapi import describe
from vcompose.web.operation import OPTIONS, SERVICE, Operation, Options
from vcompose.web.pages import pages
from vcompose.web.server import expecting
from vcompose.web.wire import API

OPERATIONS: Final[tuple[Operation, ...]] = (
    clips.upload_clip,
    clips.list_clips,
    clips.get_clip,
    clips.get_clip_content,
    clips.delete_clip,
    compositions.plan_composition,
    compositions.submit_composition,
    compositions.list_compositions,
    compositions.get_composition,
    compositions.cancel_composition,
    compositions.delete_composition,
    compositions.get_output,
    compositions.get_events,
    live.watch_all,
    live.watch_one,
)
"""What stands under ``/api/v1``."""
AT_THE_ROOT: Final[tuple[Operation, ...]] = (watching.healthz, watching.readyz, watching.metrics)


def build(service: Service, options: Options, *, static: Path, version: str) -> web.Application:
    """The application for an open service."""
    app = web.Application(middlewares=[answered, guard], client_max_size=options.most_body)
    app[SERVICE] = service
    app[OPTIONS] = options
    app[METRICS] = Metrics(service)
    app[live.SOCKETS] = weakref.WeakSet()
    app.on_response_prepare.append(stricter)
    app.on_shutdown.append(_let_go)
    app.on_shutdown.append(live.close_sockets)
    listed = [(API + one.path, one) for one in OPERATIONS] + [(one.path, one) for one in AT_THE_ROOT]
    for path, one in listed:
        app.router.add_route(one.method, path, one.__call__, expect_handler=expecting(upload=one.upload))
        if one.method == "GET" and one.path not in {"/ws", "/compositions/{job}/ws"}:
            app.router.add_route("HEAD", path, one.__call__)
    app.add_routes(pages(static, describe(listed, version=version, prefix=options.prefix)))
    return app


async def _let_go(app: web.Application) -> None:
    app[SERVICE].let_go()
