"""The page, its files, and the page of the interface's description."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from vcompose.web.fault import Fault

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_FRESH = {"Cache-Control": "no-cache"}  # browsers ask each time whether a file has changed


def pages(static: Path, description: str) -> list[web.RouteDef]:
    """Routes for the files in ``static``: those that are there now, and no other path can be made of a name."""
    files = {path.relative_to(static).as_posix(): path for path in static.rglob("*") if path.is_file()}

    def page(name: str) -> Handler:
        async def show(request: web.Request) -> web.StreamResponse:
            del request
            return web.FileResponse(files[name], headers=_FRESH)

        return show

    async def file(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in files:
            raise Fault("not_found", "there is no such file")
        return web.FileResponse(files[name], headers=_FRESH)

    async def openapi(request: web.Request) -> web.StreamResponse:
        del request
        return web.Response(text=description, content_type="application/json", headers=_FRESH)

    return [
        web.get("/", page("index.html")),
        web.get("/docs", page("docs.html")),
        web.get("/openapi.json", openapi),
        web.get("/static/{name:.+}", file),
    ]
