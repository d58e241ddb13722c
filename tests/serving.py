"""The real service for tests: a real SQLite file, real sockets on 127.0.0.1, real ffmpeg unless a test says not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from vcompose import __version__, assets
from vcompose.jobs.execution import Filmmaker
from vcompose.jobs.service import Limits, Service, open_service
from vcompose.media.film import produce
from vcompose.media.tools import Tools
from vcompose.web.application import build
from vcompose.web.operation import Options
from vcompose.web.server import Address, listening

API = "/api/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A service that listens: where, its data folder, and the service itself for what no address tells."""

    url: str
    folder: Path
    service: Service
    session: aiohttp.ClientSession

    async def upload(self, path: Path, *, name: str | None = None) -> dict[str, Any]:
        """Upload a clip; gives its document."""
        form = aiohttp.FormData(quote_fields=False)
        with path.open("rb") as file:
            form.add_field("file", file, filename=name or path.name)
            async with self.session.post(f"{self.url}{API}/clips", data=form) as answer:
                document: dict[str, Any] = await answer.json()
                assert answer.status == 201, document
                return document

    async def submit(self, *clips: str, key: str | None = None, **output: object) -> dict[str, Any]:
        """Submit a composition of clips by id; gives the job's document."""
        headers = {"Idempotency-Key": key} if key else {}
        wanted = {"clips": [{"clip": clip} for clip in clips], "output": output}
        async with self.session.post(f"{self.url}{API}/compositions", json=wanted, headers=headers) as answer:
            document: dict[str, Any] = await answer.json()
            assert answer.status == 202, document
            return document

    async def call(self, method: str, path: str, **arguments: Any) -> tuple[int, Any]:
        """Call any address below /api/v1; gives the status and the document (None where there is none)."""
        async with self.session.request(method, f"{self.url}{API}{path}", **arguments) as answer:
            json = "json" in answer.headers.get("Content-Type", "")
            return answer.status, await answer.json() if json else await answer.read() or None

    async def ended(self, job: str, *, seconds: float = 60.0) -> dict[str, Any]:
        """Wait for a job's end by long polls."""
        after = 0
        while True:
            status, document = await self.call("GET", f"/compositions/{job}", params={"after": after, "wait": seconds})
            assert status == 200, document
            found: dict[str, Any] = document
            if found["finished"] is not None:
                return found
            assert found["seq"] > after, f"nothing happened for {seconds} s: {found}"
            after = found["seq"]


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    tools: Tools,
    *,
    limits: Limits | None = None,
    options: Options | None = None,
    filmmaker: Filmmaker = produce,
    header_seconds: float = 10.0,
) -> AsyncIterator[Serving]:
    """Start a service on a data folder; on the way out it is stopped as SIGTERM would, with no grace by default."""
    limits = limits or Limits(grace=0.0, keep_free=0)
    async with open_service(folder, tools, limits, filmmaker=filmmaker) as service:
        app = build(service, options or Options(), static=assets.static(), version=__version__)
        address = Address(host="127.0.0.1", port=0, header_seconds=header_seconds)
        async with listening(app, address) as port, aiohttp.ClientSession() as session:
            yield Serving(url=f"http://127.0.0.1:{port}", folder=folder, service=service, session=session)
