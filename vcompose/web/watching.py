"""For operators: is it alive, is it ready, how much does it do."""

from __future__ import annotations

from aiohttp import web

from vcompose.web import wire
from vcompose.web.metrics import METRICS
from vcompose.web.operation import Answer, Call, NoQuery, answer, operation


@operation(
    "GET",
    "/healthz",
    summary="Whether the server lives",
    answers={200: Answer(text="It does", model=wire.Health)},
)
async def healthz(call: Call[NoQuery, None]) -> web.StreamResponse:
    """The loop turns."""
    del call
    return answer(wire.Health(status="ok"))


@operation(
    "GET",
    "/readyz",
    summary="Whether the server takes compositions",
    answers={
        200: Answer(text="It does", model=wire.Health),
        503: Answer(text="It does not, and why", model=wire.Health),
    },
)
async def readyz(call: Call[NoQuery, None]) -> web.StreamResponse:
    """The database answers, the disk has room, and the server is not stopping."""
    service = call.service
    checks = {"database": "ok", "disk": "ok", "stopping": "no"}
    try:
        await service.sequence()
    except Exception as error:  # noqa: BLE001 - whatever it is, the server is not ready
        checks["database"] = type(error).__name__
    if service.free() <= 0:
        checks["disk"] = "full"
    if service.stopping:
        checks["stopping"] = "yes"
    ready = checks == {"database": "ok", "disk": "ok", "stopping": "no"}
    return answer(wire.Health(status="ok" if ready else "not_ready", checks=checks), status=200 if ready else 503)


@operation(
    "GET",
    "/metrics",
    summary="Numbers for Prometheus",
    answers={200: Answer(text="The numbers", media="text/plain")},
)
async def metrics(call: Call[NoQuery, None]) -> web.StreamResponse:
    """The exposition format, version 0.0.4."""
    body = await call.request.app[METRICS].text()
    return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
