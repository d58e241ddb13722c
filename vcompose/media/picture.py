"""The filter chain that brings one clip's picture to the target. Pure: values in, text for ``-vf`` out.

All sizes are computed here, from the size a person sees, so that no filter has to guess about sample aspects. ffmpeg
itself turns the picture upright in front of the chain (by the flags of the display matrix).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from vcompose.media.clip import Color, Fields, Size
from vcompose.media.composition import Fit
from vcompose.media.step import EncodeStep, Target

_BLUR_SHRINK: Final = 8
_BLUR_SIGMA: Final = 6
_UNSAID: Final = frozenset({None, "unknown", "reserved"})


def chain(step: EncodeStep) -> str:
    """The whole chain: own clock, whole pictures, colour, fit, the film's rate, exactly ``step.frames`` pictures.

    Pictures are scaled before the rate is changed where that makes fewer of them, after it otherwise.
    """
    rate = step.target.rate
    # held before the first picture and after the last one, until -frames:v ends it
    pace = [f"fps={rate}:start_time=0", "tpad=stop_mode=clone:stop=-1"]
    tone = _tone(step.color)
    shape = [*tone, *fit(step.shown, step.target, "bt709" if tone else matrix(step.color, step.shown))]
    clock = f"setpts=round(PTS-{_decimal(step.begin)}/TB)"
    whole = [] if step.fields is Fields.PROGRESSIVE else ["bwdif=mode=send_frame:parity=auto:deint=all"]
    middle = [*pace, *shape] if step.rate > rate else [*shape, *pace]
    # a file may change its size half-way, and crop would go on with the old one, beyond the edge of the new picture
    steady = f"scale={step.upright.width}:{step.upright.height}"
    return ",".join([clock, steady, *whole, *middle, "format=yuv420p", _TAGS])


_TAGS: Final = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"


def fit(shown: Size, target: Target, source_matrix: str) -> list[str]:
    """Filters that put a picture of ``shown`` size on the target's canvas, in BT.709 limited range."""
    canvas = target.size
    color = f"in_color_matrix={source_matrix}:out_color_matrix=bt709:out_range=tv"
    if target.fit is Fit.STRETCH or shown.width * canvas.height == shown.height * canvas.width:
        return [f"scale={canvas.width}:{canvas.height}:flags=bicubic:{color}", "setsar=1"]
    if target.fit is Fit.COVER:
        return [_cut(shown, canvas), f"scale={canvas.width}:{canvas.height}:flags=bicubic:{color}", "setsar=1"]
    inner = _inside(shown, canvas)
    scale = [f"scale={inner.width}:{inner.height}:flags=bicubic:{color}", "setsar=1"]
    if target.fit is Fit.CONTAIN:
        # positions on even pixels, where the chroma samples lie
        left, top = (canvas.width - inner.width) // 4 * 2, (canvas.height - inner.height) // 4 * 2
        return [*scale, "format=yuv420p", f"pad={canvas.width}:{canvas.height}:{left}:{top}:black"]
    small = Size(max(16, canvas.width // _BLUR_SHRINK // 2 * 2), max(16, canvas.height // _BLUR_SHRINK // 2 * 2))
    graph = (
        f"split[front][back];"
        f"[back]{_cut(shown, small)},scale={small.width}:{small.height}:flags=area:{color},setsar=1,"
        f"gblur=sigma={_BLUR_SIGMA},scale={canvas.width}:{canvas.height}:flags=bilinear,format=yuv420p[behind];"
        f"[front]{','.join(scale)},format=yuv420p[before];[behind][before]overlay=(W-w)/2:(H-h)/2:format=yuv420"
    )
    return [graph]


def matrix(color: Color, shown: Size) -> str:
    """The matrix of a picture's colours; where it does not say, what its size usually means."""
    if color.matrix in _UNSAID:
        return "bt709" if min(shown) >= 720 else "smpte170m"
    return "auto"


def _tone(color: Color) -> list[str]:
    """From high dynamic range to the film's: light made linear, compressed, and coded for BT.709."""
    if color.hdr is None:
        return []
    space = color.matrix if color.matrix not in _UNSAID else "bt2020nc"
    gamut = color.primaries if color.primaries not in _UNSAID else "bt2020"
    return [
        f"zscale=tin={color.transfer}:min={space}:pin={gamut}:t=linear:p=bt2020:npl=100",
        "format=gbrpf32le",
        "zscale=p=bt709",
        "tonemap=hable:desat=0",
        "zscale=t=bt709:m=bt709:r=tv",
        "format=yuv420p",
    ]


def _cut(shown: Size, canvas: Size) -> str:
    """Cut the middle of the canvas's shape out of the picture, before anything is scaled: the other way round, a
    narrow strip from a stranger would be blown up to gigabytes first.
    """
    across, down = Fraction(canvas.width, shown.width), Fraction(canvas.height, shown.height)
    wide, high = min(Fraction(1), across / down), min(Fraction(1), down / across)
    return f"crop=max(2\\,iw*{float(wide):.12f}):max(2\\,ih*{float(high):.12f})"


def _inside(shown: Size, canvas: Size) -> Size:
    """The even size nearest to ``shown``'s shape that touches the canvas from inside."""
    factor = min(Fraction(canvas.width, shown.width), Fraction(canvas.height, shown.height))
    return Size(*(max(1, round(side * factor / 2)) * 2 for side in shown))


def _decimal(seconds: Fraction) -> str:
    return f"{float(seconds):.9f}"
