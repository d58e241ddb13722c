"""The composition document: the request as people write it, as it is stored, and as it is read again after a restart.

Strict: ``false`` is no number, unknown fields are refused. The only module of the room that knows field names.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from vcompose.jobs.job import JobError
from vcompose.media import clip as media_clip
from vcompose.media import composition as media
from vcompose.media import wire
from vcompose.media.clip import Clip
from vcompose.media.errors import CompositionError, MediaError
from vcompose.media.estimate import expected_seconds, expected_size
from vcompose.media.plan import Plan

MOST_CLIPS: Final = 1000
"""Clips of one composition."""

# ffmpeg 5.1's xfade transitions without ``custom``: a fixed list, for a name becomes part of a filter
TRANSITIONS: Final = (
    "cut", "fade", "wipeleft", "wiperight", "wipeup", "wipedown", "slideleft", "slideright", "slideup", "slidedown",
    "circlecrop", "rectcrop", "distance", "fadeblack", "fadewhite", "radial", "smoothleft", "smoothright", "smoothup",
    "smoothdown", "circleopen", "circleclose", "vertopen", "vertclose", "horzopen", "horzclose", "dissolve", "pixelize",
    "diagtl", "diagtr", "diagbl", "diagbr", "hlslice", "hrslice", "vuslice", "vdslice", "hblur", "fadegrays", "wipetl",
    "wipetr", "wipebl", "wipebr", "squeezeh", "squeezev", "zoomin", "fadefast", "fadeslow",
)  # fmt: skip


class WishRefused(JobError):
    """The document is well-formed, and asks for what cannot be done; ``code`` says what."""

    def __init__(self, code: str, detail: str, *, clip: str | None = None, clips: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.clip = clip
        self.clips = clips


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


def _whole(value: object) -> object:
    """JSON knows one kind of number: 2 where 2.0 is meant is no mistake, ``true`` is."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e12 else value


def _rate(fps: object) -> object:
    """A number of pictures a second as the text that it would be written as."""
    if not isinstance(fps, int | float) or isinstance(fps, bool):
        return fps
    if not 0 < fps < 1e6:
        return str(fps)[:20]
    return str(int(fps)) if fps == int(fps) else str(float(round(Fraction(fps), 6)))


Rate = Annotated[
    str,
    StringConstraints(max_length=20),
    BeforeValidator(_rate),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "maxLength": 20}]}, mode="validation"),
]
Seconds = Annotated[float, BeforeValidator(_whole), Field(ge=0, le=86_400)]


class Transition(_Strict):
    """How two clips meet: ``cut``, or one of ffmpeg's crossfades and how long it lasts."""

    type: Literal[TRANSITIONS] = "cut"  # type: ignore[valid-type]
    duration: Seconds = 0.0


class Part(_Strict):
    """One clip in the film: which, from where to where (seconds on its own clock), and the seam after it."""

    clip: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    start: Seconds | None = None
    end: Seconds | None = None
    transition: Transition | None = None


class Wanted(_Strict):
    """The wanted film; what is not said is chosen from the clips."""

    filename: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "film.mp4"
    size: Annotated[str, StringConstraints(max_length=20)] | None = None
    fps: Rate | None = None
    fit: Literal["contain", "cover", "blur", "stretch"] = "contain"
    quality: Literal["low", "medium", "high"] = "medium"
    codec: Literal["auto", "h264", "hevc"] = "auto"
    mode: Literal["auto", "copy", "encode"] = "auto"


class CompositionDocument(_Strict):
    """An ordered list of two or more clips, how they meet, and the wanted film."""

    clips: Annotated[list[Part], Field(max_length=MOST_CLIPS)]
    transition: Transition = Transition()
    output: Wanted = Wanted()

    @property
    def needs(self) -> tuple[str, ...]:
        """The ids of its clips, each once."""
        return tuple(dict.fromkeys(part.clip for part in self.clips))


def written(document: CompositionDocument) -> str:
    """The document as it is stored: equal documents are equal texts."""
    return document.model_dump_json()


def read(text: str) -> CompositionDocument:
    """A stored document."""
    return CompositionDocument.model_validate_json(text)


def check(document: CompositionDocument) -> media.Output:
    """The wanted film, checked without a look at the clips.

    Raises WishRefused: ``too_few_clips``, ``bad_size``, ``bad_fps``, ``bad_filename``, ``bad_value``,
    ``not_supported``.
    """
    try:
        media.check_count(document.clips)
        wanted = document.output
        output = media.wanted(
            size=wanted.size, fps=wanted.fps, fit=wanted.fit, quality=wanted.quality, mode=wanted.mode
        )
    except CompositionError as error:
        raise WishRefused(error.code, error.detail) from error
    _filename(wanted.filename)
    for place, part in enumerate(document.clips, 1):
        if part.end is not None and part.end <= (part.start or 0.0):
            raise WishRefused(
                "bad_value", f"clip {place} ends before it begins: give an end after its start", clip=part.clip
            )
        if part.start or part.end is not None:
            raise WishRefused("not_supported", "trims are not made yet: leave out start and end", clip=part.clip)
        if part.transition is not None and part.transition.type != "cut":
            raise WishRefused("not_supported", "transitions are not made yet: only cut is", clip=part.clip)
    if document.transition.type != "cut":
        raise WishRefused("not_supported", "transitions are not made yet: only cut is")
    if wanted.codec == "hevc":
        raise WishRefused("not_supported", "encoding to HEVC is not made yet: take auto or h264")
    return output


def refused(error: MediaError, document: CompositionDocument) -> WishRefused:
    """What the plan refused, under the clips' ids."""
    places = error.places if isinstance(error, CompositionError) else ()
    clips = tuple(dict.fromkeys(document.clips[place].clip for place in places))
    return WishRefused(error.code, error.detail, clip=clips[0] if clips else None, clips=clips)


def treatments(plan: Plan, document: CompositionDocument) -> str:
    """What is done to each clip, under the clips' ids, as it is stored."""
    return json.dumps(
        [
            {"clip": part.clip, "treatment": told["treatment"], "reasons": [_reason(one) for one in told["reasons"]]}
            for part, told in zip(document.clips, map(wire.treated, plan.clips), strict=True)
        ],
        separators=(",", ":"),
    )


def planned(plan: Plan, document: CompositionDocument, parallel: float) -> dict[str, Any]:
    """A plan as it is told to whoever asks before composing; ``parallel`` steps are made at once,
    fewer where this machine is slower than expected.
    """
    told = wire.film(plan)
    return {
        "duration": told["duration"],
        "size": told["size"],
        "fps": told["fps"],
        "sound": told["sound"],
        "bytes": expected_size(plan),
        "seconds": round(expected_seconds(plan, parallel), 1),
        "clips": [
            {
                "clip": part.clip,
                "treatment": one["treatment"],
                "reasons": [_reason(reason) for reason in one["reasons"]],
                "warnings": one["warnings"],
                "start": one["start"],
                "duration": one["duration"],
            }
            for part, one in zip(document.clips, told["clips"], strict=True)
        ],
    }


def found(clip: Clip) -> dict[str, Any]:
    """What was found in a clip."""
    told = wire.clip(clip)
    return {key: value for key, value in told.items() if key not in {"clip", "size"}}


def clip_text(clip: Clip) -> str:
    """A probed clip as it is stored; where its file lies and what it is called stand elsewhere."""
    return media_clip.SCHEMA.dump_json(clip).decode()


def read_clip(text: str) -> Clip:
    """A stored clip. Raises ValueError when another version of vcompose wrote it in another form."""
    return media_clip.SCHEMA.validate_json(text)


def listed(values: Sequence[str]) -> str:
    """Texts as one JSON value, for a statement that takes any number of them."""
    return json.dumps(values)


def _reason(told: dict[str, Any]) -> dict[str, Any]:
    return {"code": told["code"], "parameters": told.get("parameters", {})}


def _filename(name: str) -> None:
    """The film's name for the person: any text that can be a file's name. It never names a file of ours."""
    odd = next((c for c in name if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c in "/\\"), None)
    if odd is not None or name.strip(". ") == "":
        raise WishRefused("bad_filename", f"{name!r} cannot be a file's name: leave out slashes and control characters")
    if not re.search(r"\.(mp4|m4v)$", name, re.IGNORECASE):
        raise WishRefused("bad_filename", f"the film is an MP4 file: call it {name}.mp4")
