"""The settings: the only module that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, ByteSize, Field
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX: Final = "VCOMPOSE_"
_CONFIG: Final = f"{PREFIX}CONFIG"


class Settings(BaseSettings):
    """What an operator may set, by environment variables that begin with ``VCOMPOSE_``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    ffmpeg: Path | None = Field(default=None, description="the ffmpeg to run, before any other")
    ffprobe: Path | None = Field(default=None, description="the ffprobe to run, before any other")
    allow_old_ffmpeg: bool = Field(
        default=False, description="run an ffmpeg with a known hole, for files that you trust"
    )
    parallel: int | None = Field(default=None, ge=1, le=256, description="steps at once (default: by the cores)")


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class ServerSettings(Settings):
    """What the operator of a service may set: by flags, then the environment, then a file."""

    # a misspelt name in the file must be told, not passed over
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", description="the address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="the port to listen on; 0 takes a free one")
    data: Path = Field(default=Path("vcompose-data"), description="the data folder: clips, films, the database")
    hosts: Annotated[list[str], NoDecode, BeforeValidator(_split)] = Field(
        default=[], description="further host names that are served, beside localhost"
    )
    url_prefix: str = Field(
        default="", pattern=r"^(/[A-Za-z0-9._~-]+)*$", description="the path under which a proxy shows the service"
    )
    jobs: int | None = Field(default=None, ge=1, le=256, description="jobs at once (default: by the cores)")
    max_upload: ByteSize = Field(default=ByteSize(20 << 30), ge=1, description="the largest clip that is taken")
    max_body: ByteSize = Field(default=ByteSize(1 << 20), ge=1, description="the largest JSON document that is taken")
    keep_free: ByteSize = Field(default=ByteSize(512 << 20), description="disk space that is never filled")
    grace: float = Field(default=30.0, ge=0, le=86_400, description="seconds that running jobs get when it stops")
    slow_request: float = Field(default=0.5, gt=0, description="seconds after which a request is warned about")
    log: Literal["auto", "json", "text"] = Field(
        default="auto", description="form of the log: auto is text on a terminal, else json"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before the environment before the file."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def server_settings(file: Path | None, **flags: object) -> ServerSettings:
    """The settings of a service; ``flags`` that are None were not given, ``file`` may be named by VCOMPOSE_CONFIG.

    Raises pydantic's ValidationError, OSError and tomllib's TOMLDecodeError.
    """
    named = file or (Path(os.environ[_CONFIG]) if os.environ.get(_CONFIG) else None)
    if named is not None:
        named.open("rb").close()  # one that is named and not there is a mistake, not a default

    class Filed(ServerSettings):
        model_config = SettingsConfigDict(toml_file=named)

    return Filed(**{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]


def search_path() -> str:
    """The PATH, where programs of the system are looked for."""
    return os.environ.get("PATH", os.defpath)
