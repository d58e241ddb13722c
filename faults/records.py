"""What the clients asked for and what they were promised: the other side of every check."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from faults.clips import Base


@dataclass(slots=True, kw_only=True)
class Upload:
    """A clip that was sent, under a name of its own; ``clip`` is its id once 201 was answered."""

    name: str
    base: Base
    salt: bytes
    sha256: str
    clip: str | None = None
    delete_asked: bool = False
    deleted: bool = False


@dataclass(slots=True, kw_only=True)
class Submission:
    """A composition that was submitted under a key of its own; ``job`` is its id once 202 was answered.
    ``spared``: no client cancels or deletes it by the way; ``forgotten``: an answer that is cut is not asked for again.
    """

    key: str
    kind: str
    clips: tuple[Upload, ...]
    job: str | None = None
    spared: bool = False
    forgotten: bool = False
    refused: bool = False
    cancel_asked: bool = False
    cancelled: bool = False
    delete_asked: bool = False
    deleted: bool = False

    @property
    def made_of(self) -> tuple[str, ...]:
        """What its film is made of: equal ones must be equal films."""
        return (self.kind, *(upload.base.name for upload in self.clips))


@dataclass(slots=True, kw_only=True)
class Records:
    """All of it; ``wrong`` are sentences about what should not have been answered."""

    uploads: list[Upload] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    sending: tuple[int, int] | None = None
    """While a body is half sent: the bytes that are, and the bytes of all."""

    @property
    def ready(self) -> list[Upload]:
        """Clips that are there, and that nobody asked to delete."""
        return [upload for upload in self.uploads if upload.clip is not None and not upload.delete_asked]
