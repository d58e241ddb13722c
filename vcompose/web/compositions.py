"""Compositions and their jobs: planning, submitting, watching by polls, cancelling, taking the film."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field

from vcompose.jobs.document import CompositionDocument
from vcompose.jobs.job import Job
from vcompose.jobs.lifecycle import State
from vcompose.web import wire
from vcompose.web.clips import Page
from vcompose.web.fault import Fault
from vcompose.web.files import Download, names, send
from vcompose.web.operation import Answer, Call, NoQuery, Query, answer, answer_text, operation

Sequence = Annotated[int, Field(ge=0, le=(1 << 53) - 1)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]

_LONGEST_WAIT: Final = 60.0
"""Seconds that a poll is held; who asks for more is answered then, and asks again."""
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_BODY: Final = (
    "bad_json", "bad_request", "unsupported_media_type", "too_large", "request_timeout", "too_few_clips", "bad_size",
    "bad_fps", "bad_value", "bad_filename", "clip_not_found", "cannot_copy", "not_supported",
)  # fmt: skip


class JobsPage(Page):
    """A page of jobs; ``state`` (it may come several times) keeps those of some states."""

    state: list[State] = Field(default=[])


class JobPoll(Query):
    """``after`` and ``wait``: answer as soon as the job's number is above ``after``, at the latest after ``wait``
    seconds.
    """

    after: Sequence | None = None
    wait: Seconds = 0.0


class EventPoll(Query):
    """Answer as soon as something happened ``after`` a number, at the latest after ``wait`` seconds."""

    after: Sequence = 0
    wait: Seconds = 0.0
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


@operation(
    "POST",
    "/compositions/plan",
    summary="What would be done to each clip, and why; nothing is made",
    body=CompositionDocument,
    answers={200: Answer(text="The plan", model=wire.PlanDocument)},
    problems=_BODY,
)
async def plan_composition(call: Call[NoQuery, CompositionDocument]) -> web.StreamResponse:
    """A plan with its reasons."""
    return answer(wire.plan(await call.service.plan(call.body)))


@operation(
    "POST",
    "/compositions",
    summary="Submit a composition; it is made in the background",
    body=CompositionDocument,
    headers={"Idempotency-Key": "any text of your own; the same one gives the same job again, for 24 hours"},
    answers={202: Answer(text="The job", model=wire.JobDocument, headers={"Location": "the job's address"})},
    problems=(*_BODY, "bad_idempotency_key", "idempotency_key_reused", "no_space", "stopping"),
)
async def submit_composition(call: Call[NoQuery, CompositionDocument]) -> web.StreamResponse:
    """Accepted means on the disk."""
    key = call.request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise Fault("bad_idempotency_key", "an Idempotency-Key is 1 to 255 visible ASCII characters")
    job = await call.service.submit(call.body, key=key)
    return _job(call, job, status=202, headers={"Location": f"{call.options.prefix}{wire.API}/compositions/{job.id}"})


@operation(
    "GET",
    "/compositions",
    summary="The jobs, newest first",
    query=JobsPage,
    answers={200: Answer(text="A page of jobs", model=wire.JobList)},
)
async def list_compositions(call: Call[JobsPage, None]) -> web.StreamResponse:
    """A page of jobs."""
    page = await call.service.jobs(states=call.query.state, before=call.query.before, limit=call.query.limit)
    return answer_text(wire.jobs(page.jobs, page.next, call.language, call.options.prefix))


@operation(
    "GET",
    "/compositions/{job}",
    summary="A job; with after and wait a long poll",
    query=JobPoll,
    headers={"If-None-Match": "the ETag that you have: 304 when the job is still the same"},
    answers={
        200: Answer(text="The job", model=wire.JobDocument, headers={"ETag": "the job's number in the sequence"}),
        304: Answer(text="It is as you have it"),
    },
    problems=("not_found",),
)
async def get_composition(call: Call[JobPoll, None]) -> web.StreamResponse:
    """One job. Speed and time left are no part of its ``ETag``."""
    name = call.path("job")
    if call.query.after is not None and call.query.wait:
        job = await call.service.wait_for_job(name, call.query.after, min(call.query.wait, _LONGEST_WAIT))
    else:
        job = await call.service.job(name)
    if names(call.request.headers.get("If-None-Match", ""), f'"{job.seq}"'):
        return web.Response(status=304, headers={"ETag": f'"{job.seq}"', "Vary": "Accept-Language"})
    return _job(call, job)


@operation(
    "GET",
    "/events",
    summary="What happened to all jobs; with wait a long poll",
    query=EventPoll,
    answers={200: Answer(text="Events in order", model=wire.EventList)},
)
async def get_events(call: Call[EventPoll, None]) -> web.StreamResponse:
    """Every job that changed, as it is now, and every deletion."""
    after = call.query.after
    if call.query.wait:
        changes = await call.service.wait_for_changes(
            after, min(call.query.wait, _LONGEST_WAIT), limit=call.query.limit
        )
    else:
        changes = await call.service.changes(after, limit=call.query.limit)
    return answer_text(wire.events(changes, after, call.language, call.options.prefix))


@operation(
    "POST",
    "/compositions/{job}/cancel",
    summary="Cancel a job; the answer comes when no process of it is left",
    answers={200: Answer(text="The cancelled job", model=wire.JobDocument)},
    problems=("not_found", "wrong_state"),
)
async def cancel_composition(call: Call[NoQuery, None]) -> web.StreamResponse:
    """The answer is a receipt: the process group is proven gone, and no file of it is left."""
    return _job(call, await call.service.cancel(call.path("job")))


@operation(
    "DELETE",
    "/compositions/{job}",
    summary="Remove a job that has ended, and its film",
    answers={204: Answer(text="It is gone")},
    problems=("not_found", "wrong_state"),
)
async def delete_composition(call: Call[NoQuery, None]) -> web.StreamResponse:
    """Remove a job."""
    await call.service.delete(call.path("job"))
    return web.Response(status=204)


@operation(
    "GET",
    "/compositions/{job}/output",
    summary="The film, whole or a range of it",
    query=Download,
    answers={
        200: Answer(text="The film", media="video/mp4"),
        206: Answer(text="A range of it", media="video/mp4"),
        304: Answer(text="It is as you have it"),
    },
    problems=("not_found", "no_output", "range_not_satisfiable", "precondition_failed"),
)
async def get_output(call: Call[Download, None]) -> web.StreamResponse:
    """The film of a completed job."""
    job, path = await call.service.film(call.path("job"))
    assert job.output is not None
    return await send(call.request, path, job.output.filename, "video/mp4", attach=call.query.attach)


def _job(call: Call[Any, Any], job: Job, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return answer_text(
        wire.job(job, call.language, call.options.prefix),
        status=status,
        headers={"ETag": f'"{job.seq}"', **(headers or {})},
    )
