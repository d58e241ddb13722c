"""Codes put into words, at the edge: the rooms inside know only codes and parameters."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from vcompose.media.estimate import Stage
from vcompose.media.plan import Plan, Reason, Treated, Treatment

_REASONS: Final = {
    "others_need_encoding": "it would fit, but not beside the others",
    "encode_wanted": "you asked for encoding",
    "size_wanted": "it is {is}, and you asked for {film}",
    "rate_wanted": "it has {is} fps, and you asked for {film}",
    "check_failed": "a copied film did not pass its check ({why})",
    "container": "it is {is}, not MP4",
    "codec": "its {is} pictures cannot be copied into the film",
    "variable_rate": "its pictures come at an uneven rate",
    "open_gop": "open GOP: players would stumble when seeking",
    "no_key_first": "it does not begin with a key picture",
    "hidden_pictures": "some of its pictures are hidden by an edit",
    "late_picture": "its picture begins {seconds} s off its start",
    "longer_sound": "its sound lasts {seconds} s longer than its picture",
    "other_codec": "its format is {is}, most are {film}",
    "other_size": "{is} instead of {film}",
    "other_rate": "{is} fps instead of {film}",
    "other_format": "its pixels are {is} instead of {film}",
    "other_aspect": "its pixels have another shape",
    "other_stored": "its pixels are stored in another size",
    "other_turn": "it was filmed another way up",
    "other_scan": "it is {is}, most are {film}",
    "other_color": "its colours are coded in another way",
    "other_configuration": "it was encoded with other settings",
    "other_layout": "its tracks are laid out in another way",
}

_FEW: Final = 3
_STAGES: Final = {
    Stage.ENCODING: "encoding pictures",
    Stage.SOUND: "encoding sound",
    Stage.JOINING: "joining",
    Stage.VERIFYING: "checking",
    Stage.DONE: "done",
}

_WARNINGS: Final = {
    "first_picture_incomplete": "it does not begin with a key picture: its first moments may be blurred",
    "cut_off": "it seems cut off: its header promises more than can be read. Copy it again from where it came",
}


def stage(value: Stage) -> str:
    """A stage, in words."""
    return _STAGES[value]


def reason(value: Reason) -> str:
    """A reason, in words."""
    return _REASONS[value.code].format(**value.parameters)


def warning(code: str) -> str:
    """A clip's warning, in words."""
    return _WARNINGS[code]


def treatment(treated: Treated, *, made: bool = True) -> str:
    """What was done to a clip (``made``), or will be, and why."""
    if treated.treatment is Treatment.COPY:
        return "picture copied untouched" if made else "picture will be copied untouched"
    return f"{'encoded' if made else 'will be encoded'}: " + _listed([reason(value) for value in treated.reasons])


def summary(plan: Plan) -> str | None:
    """Which clips keep the others from being copied; None where that is not to be told."""
    odd = [one for one in plan.clips if [value.code for value in one.reasons] != ["others_need_encoding"]]
    if plan.copies or len(odd) == len(plan.clips) or len(odd) > _FEW:
        return None
    names = ", ".join(dict.fromkeys(printable(one.clip.name) for one in odd))
    return f"all {len(plan.clips)} clips are encoded, because of {names}"


def printable(text: str) -> str:
    """Text for a terminal: what could steer it is shown as escapes, for names come from strangers."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def film(plan: Plan) -> str:
    """The film of a plan, in a line."""
    if plan.copies:
        picture = plan.composition.clips[0].picture
        size, rate, codec = picture.shown, picture.rate, picture.codec
    else:
        size, rate, codec = plan.target.size, plan.target.rate, "h264"
    sound = f", AAC stereo {plan.sound_rate} Hz" if plan.sound_rate else ", no sound"
    return f"{duration(float(plan.length))}, {size}, {fps(rate)} fps, {codec}{sound}"


def fps(rate: Fraction) -> str:
    """``25``, ``29.97``: a frame rate, without zeros that say nothing."""
    return f"{float(rate):.2f}".rstrip("0").rstrip(".")


def channels(count: int) -> str:
    """How many channels a sound has."""
    return {1: "mono", 2: "stereo"}.get(count, f"{count} channels")


def duration(seconds: float) -> str:
    """``4.20 s``, ``3:07`` or ``1:02:05``."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def size(count: int) -> str:
    """Bytes, as people read them."""
    if count < 1000:
        return f"{count} bytes"
    amount, unit = next(
        ((count / scale, unit) for unit, scale in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9)) if count < scale * 1000),
        (count / 1e12, "TB"),
    )
    return f"{amount:.1f} {unit}"


def _listed(reasons: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(reasons))
