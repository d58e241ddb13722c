"""The settings: the only module that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an operator may set, by environment variables that begin with ``VCOMPOSE_``."""

    model_config = SettingsConfigDict(env_prefix="VCOMPOSE_", extra="ignore", frozen=True)

    ffmpeg: Path | None = Field(default=None, description="the ffmpeg to run, before any other")
    ffprobe: Path | None = Field(default=None, description="the ffprobe to run, before any other")
    allow_old_ffmpeg: bool = Field(
        default=False, description="run an ffmpeg with a known hole, for files that you trust"
    )
    parallel: int | None = Field(default=None, ge=1, le=256, description="steps at once (default: by the cores)")


def search_path() -> str:
    """The PATH, where programs of the system are looked for."""
    return os.environ.get("PATH", os.defpath)
