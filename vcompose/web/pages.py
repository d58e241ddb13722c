"""The page, its files, and the page of the interface's description."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def pages(static: Path, description: str) -> list[web.AbstractRouteDef]:
    """Routes for the files in ``static``; browsers ask each time whether they changed."""

    def page(name: str) -> Handler:
        async def show(request: web.Request) -> web.StreamResponse:
            del request
            return web.FileResponse(static / name, headers={"Cache-Control": "no-cache"})

        return show

    async def openapi(request: web.Request) -> web.StreamResponse:
        del request
        return web.Response(text=description, content_type="application/json", headers={"Cache-Control": "no-cache"})

    return [
        web.get("/", page("index.html")),
        web.get("/docs", page("docs.html")),
        web.get("/openapi.json", openapi),
        web.static("/static", static, follow_symlinks=False, show_index=False),
    ]
