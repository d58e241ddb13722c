"""The media room's values as JSON: the only module of the room that knows field names."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from vcompose.media.clip import Clip
from vcompose.media.errors import MediaError
from vcompose.media.plan import Plan, Reason, Treated
from vcompose.media.step import SCHEMA

Json = dict[str, Any]


def clip(value: Clip) -> Json:
    """What was found in a clip. Times in seconds, rates as fractions of pictures a second, angles clockwise."""
    picture, sound = value.picture, value.sound
    return {
        "clip": value.name,
        "size": value.size,
        "container": value.container,
        "duration": _seconds(value.length),
        "video": {
            "stream": picture.index,
            "codec": picture.codec,
            "profile": picture.profile,
            "pixel_format": picture.pixel_format,
            "stored_size": str(picture.stored),
            "shown_size": str(picture.shown),
            "sample_aspect": _fraction(picture.aspect),
            "rotation": picture.rotation,
            "fields": picture.fields.value,
            "fps": _fraction(picture.rate),
            "variable_fps": picture.variable,
            "frames": picture.frames,
            "start": _seconds(picture.begin - value.begin),
            "duration": _seconds(picture.end - picture.begin),
            "color": {
                "range": picture.color.range,
                "matrix": picture.color.matrix,
                "primaries": picture.color.primaries,
                "transfer": picture.color.transfer,
                "hdr": picture.color.hdr,
            },
            "open_gop": picture.open_gop,
        },
        "audio": None
        if sound is None
        else {
            "stream": sound.index,
            "codec": sound.codec,
            "profile": sound.profile,
            "sample_rate": sound.rate,
            "channels": sound.channels,
            "layout": sound.layout,
            "start": _seconds(sound.begin - value.begin),
            "duration": _seconds(sound.end - sound.begin),
        },
        "warnings": list(value.warnings),
    }


def plan(value: Plan) -> Json:
    """A plan: the film, every clip's treatment with its reasons, the steps as plain data."""
    return {**film(value), "steps": [SCHEMA.dump_python(step, mode="json") for step in value.steps]}


def film(value: Plan) -> Json:
    """The film of a plan, and every clip's treatment with its reasons."""
    size = value.composition.clips[0].picture.shown if value.copies else value.target.size
    rate = value.composition.clips[0].picture.rate if value.copies else value.target.rate
    return {
        "duration": _seconds(value.length),
        "size": str(size),
        "fps": _fraction(rate),
        "frames": value.pictures,
        "sound": None if value.sound_rate is None else {"sample_rate": value.sound_rate, "channels": 2},
        "clips": [treated(one) for one in value.clips],
    }


def treated(value: Treated) -> Json:
    """One clip in the film: what is done to it and why, where it begins there."""
    return {
        "clip": value.clip.name,
        "treatment": value.treatment.value,
        "reasons": [reason(one) for one in value.reasons],
        "warnings": list(value.clip.warnings),
        "start": _seconds(value.begin),
        "duration": _seconds(value.length),
    }


def reason(value: Reason) -> Json:
    """A reason: its code, and the parameters that its sentence needs."""
    return {"code": value.code, **({"parameters": value.parameters} if value.parameters else {})}


def error(value: MediaError) -> Json:
    """An error: ``code``, ``detail``, the ``clip`` to blame, and the ``others`` that were found with it."""
    told: Json = {"code": value.code, "detail": value.detail, "clip": value.clip}
    return told | ({"others": [error(other) for other in value.others]} if value.others else {})


def _seconds(value: Fraction) -> float:
    return round(float(value), 6)


def _fraction(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"
