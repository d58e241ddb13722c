"""The peer of the service's benchmark: an aiohttp handler that reads a JSON document and answers one, nothing else."""

from __future__ import annotations

import sys

from aiohttp import web


async def submit(request: web.Request) -> web.Response:
    """The least that any answer costs here."""
    wanted = await request.json()
    return web.json_response({"id": "j_bare", "state": "pending", "clips": wanted["clips"]}, status=202)


async def detail(request: web.Request) -> web.Response:
    """A small document."""
    return web.json_response({"id": request.match_info["job"], "state": "pending", "percent": 0})


def main() -> None:
    """Listen on the port given."""
    app = web.Application()
    app.add_routes([web.post("/api/v1/compositions", submit), web.get("/api/v1/compositions/{job}", detail)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=lambda *_: None)


if __name__ == "__main__":
    main()
