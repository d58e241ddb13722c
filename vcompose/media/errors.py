"""What can go wrong, as data with a sentence.

    MediaError
    ├── ClipError          a clip cannot be used; the composition is refused before anything is made
    ├── CompositionError   the request makes no sense, whatever the clips are
    ├── ToolError          ffmpeg or ffprobe is missing, too old or forbidden
    ├── PlaceError         the place of the film: missing folder, no space, existing file
    ├── StepError          a step was run and failed
    │   ├── ChildFailed    a child ended with another status than 0
    │   └── ChildStalled   a child showed neither progress nor CPU time, or ran out of its time
    └── VerifyError        the film was made and is not what the plan promised

Every error carries a stable ``code`` (for programs), a ``detail`` (a sentence for people that says what is wrong,
with which file, and what to do) and, where one is to blame, the ``clip`` as the person named it. Only the room of
the web knows which HTTP status belongs to which code, only the command line which exit code.
"""

from __future__ import annotations


class MediaError(Exception):
    """The root: ``code`` is stable, ``detail`` is a sentence, ``clip`` is the person's own name of the file; ``others``
    are further errors that were found at the same time.
    """

    code = "media_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        clip: str | None = None,
        others: tuple[MediaError, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.clip = clip
        self.others = others
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return self.detail


class ClipError(MediaError):
    """A clip cannot be used. Codes: ``not_found``, ``not_a_file``, ``not_readable``, ``empty_file``,
    ``not_a_video``, ``playlist_refused``, ``no_video_stream``, ``undecodable``, ``too_many_streams``,
    ``too_large_picture``, ``too_long``, ``too_fast``, ``broken_times``, ``probe_timeout``, ``clip_changed``.
    """

    code = "clip_refused"


class CompositionError(MediaError):
    """The request itself is wrong; ``places`` are the positions (from 0) of the clips to blame. Codes:
    ``too_few_clips``, ``bad_size``, ``bad_fps``, ``bad_value``, ``cannot_copy``.
    """

    code = "bad_composition"

    def __init__(
        self, detail: str, *, code: str | None = None, clip: str | None = None, places: tuple[int, ...] = ()
    ) -> None:
        super().__init__(detail, code=code, clip=clip)
        self.places = places


class ToolError(MediaError):
    """A program that vcompose needs cannot be used. Codes: ``tool_missing``, ``tool_too_old``, ``tool_broken``."""

    code = "tool_missing"


class PlaceError(MediaError):
    """The film cannot be put where it was asked for. Codes: ``output_exists``, ``output_is_input``,
    ``output_folder_missing``, ``output_not_writable``, ``output_type``, ``output_missing``.
    """

    code = "bad_output"


class StepError(MediaError):
    """A step was run and failed; ``status`` is the child's exit status, ``stderr`` its last lines, ``place`` the
    position (from 0) of the clip to blame. Codes: ``ffmpeg_failed``, ``stalled``, ``timeout``, ``no_process``,
    ``no_space``, ``pictures_missing``.
    """

    code = "step_failed"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        clip: str | None = None,
        status: int | None = None,
        stderr: str = "",
        place: int | None = None,
    ) -> None:
        super().__init__(detail, code=code, clip=clip)
        self.place = place
        self.status = status
        self.stderr = stderr


class ChildFailed(StepError):
    """A child ended with a status other than 0 (negative: the signal that ended it)."""

    code = "ffmpeg_failed"


class ChildStalled(StepError):
    """A child showed neither progress nor CPU time (``stalled``), or outlived its bound (``timeout``)."""

    code = "stalled"


class VerifyError(MediaError):
    """The film is not what the plan promised; it was not given its name."""

    code = "verification_failed"
