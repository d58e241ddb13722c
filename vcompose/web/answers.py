"""Every request ends here: in its answer or a problem document, a line in the log, a time in the metrics."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web

from vcompose.jobs.document import WishRefused
from vcompose.jobs.intake import TooLarge
from vcompose.jobs.job import ClipInUse, ClipRefused, JobError, NoOutput, NoSuchClip, WrongState
from vcompose.web import wire
from vcompose.web.fault import Fault
from vcompose.web.metrics import METRICS
from vcompose.web.operation import OPTIONS, language, problem_answer

log = structlog.get_logger("vcompose.web")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_OF_STATUS: Final = {
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address does not take that method"),
    413: ("too_large", "the request is too large"),
    417: ("expectation_failed", "only Expect: 100-continue is understood"),
    426: ("upgrade_required", "this address speaks WebSocket"),
}
"""What the library itself refuses."""


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into problem documents; log and measure."""
    begun = time.monotonic()
    status = 499  # the client went away
    try:
        response = await _answer(request, handler)
        status = response.status
        return response
    finally:
        seconds = time.monotonic() - begun
        route = _route(request)
        request.app[METRICS].request(request.method, route, status, seconds)
        # what takes as long as the client wants it to
        waited = bool(request.query.get("wait")) or route.endswith(("/output", "/content", "/ws")) or _uploads(request)
        slow = seconds > request.app[OPTIONS].slow and not waited
        told = log.warning if slow and status < 499 else log.info
        told(
            "slow_request" if slow else "request",
            method=request.method,
            path=request.path,
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 1),
            **({"job": job} if (job := request.match_info.get("job")) else {}),
        )


def _uploads(request: web.Request) -> bool:
    return request.method == "POST" and request.path.endswith("/clips")


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Fault as fault:
        response = _response(
            request,
            wire.problem(
                fault.code,
                fault.detail,
                language(request),
                errors=[one for one in fault.errors if isinstance(one, wire.Issue)],
                parameters=fault.parameters,
            ),
        )
        response.headers.update(fault.headers)
        if fault.close:
            response.force_close()
        return response
    except JobError as error:
        response = _response(request, _problem(request, error))
        if isinstance(error, TooLarge):
            response.force_close()
        return response
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code, detail = _OF_STATUS.get(error.status, ("bad_request", error.reason))
        response = _response(request, wire.problem(code, detail, language(request)))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except ConnectionError:
        raise
    except Exception:  # a fault of ours: the reader gets a document, the operator the trace
        log.exception("request_broken", method=request.method, path=request.path)
        return _response(
            request, wire.problem("internal_error", "the server made a mistake; its log says which", language(request))
        )


def _problem(request: web.Request, error: JobError) -> wire.Problem:
    parameters: dict[str, object] = {}
    clip: str | None = None
    clips: tuple[str, ...] = ()
    state = None
    match error:
        case TooLarge():
            parameters = {"clip": error.clip, "limit": error.limit}
        case ClipRefused():
            parameters = {"clip": error.clip}
        case WishRefused():
            clip, clips = error.clip, error.clips
        case NoSuchClip() | ClipInUse():
            clip = error.clip
        case WrongState() | NoOutput():
            state = error.state
    return wire.problem(
        error.code, str(error), language(request), clip=clip, clips=clips, state=state, parameters=parameters
    )


def _response(request: web.Request, problem: wire.Problem) -> web.Response:
    headers = {"Vary": "Accept-Language", "Content-Language": language(request).value}
    if problem.status == 503:
        headers["Retry-After"] = "5"
    return problem_answer(problem, headers)


def _route(request: web.Request) -> str:
    """The route's pattern, not the path: a stranger must not be able to make names of metrics."""
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical
