"""The settings of a service: flags before the environment before the file, and mistakes told by name."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

import vcompose.serve
from vcompose.cli import BAD_USAGE, application
from vcompose.settings import ServerSettings, server_settings

FIELDS = frozenset(ServerSettings.model_fields)
DOCS = Path(__file__).parents[1] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("VCOMPOSE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def serve(*flags: str) -> tuple[int, str]:
    """Run ``vcompose serve`` up to its settings; gives exit code and what it said."""
    result = CliRunner().invoke(application, ["serve", *flags])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, re.sub(r"\s+", " ", result.output)


def test_the_defaults_are_closed() -> None:
    settings = server_settings(None)
    assert (settings.host, settings.port, settings.hosts, settings.url_prefix) == ("127.0.0.1", 8080, [], "")
    assert settings.data == Path("vcompose-data")
    assert (settings.max_upload, settings.max_body, settings.keep_free) == (20 << 30, 1 << 20, 512 << 20)
    assert (settings.jobs, settings.parallel, settings.grace, settings.slow_request) == (None, None, 30.0, 0.5)
    assert (settings.log, settings.ffmpeg, settings.ffprobe, settings.allow_old_ffmpeg) == ("auto", None, None, False)


def test_flags_before_the_environment_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "films.toml"
    file.write_text(
        'port = 1001\nhost = "127.0.0.3"\njobs = 3\nhosts = ["a.example", "b.example"]\nmax_upload = "5MB"\n'
    )
    monkeypatch.setenv("VCOMPOSE_PORT", "1002")
    monkeypatch.setenv("VCOMPOSE_HOST", "127.0.0.2")
    settings = server_settings(file, port=1003, host=None)
    assert (settings.port, settings.host, settings.jobs) == (1003, "127.0.0.2", 3)
    assert settings.hosts == ["a.example", "b.example"]
    assert settings.max_upload == 5_000_000
    assert server_settings(file).port == 1002
    monkeypatch.delenv("VCOMPOSE_PORT")
    assert server_settings(file).port == 1001
    assert server_settings(None).port == 8080


def test_the_environment_may_name_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text("port = 1")
    other.write_text("port = 2")
    monkeypatch.setenv("VCOMPOSE_CONFIG", str(one))
    assert server_settings(None).port == 1
    assert server_settings(other).port == 2
    monkeypatch.setenv("VCOMPOSE_CONFIG", "")
    assert server_settings(None).port == 8080
    (tmp_path / "vcompose.toml").write_text("port = 3")  # none is looked for
    (tmp_path / ".env").write_text("VCOMPOSE_PORT=4")
    assert server_settings(None).port == 8080


@pytest.mark.parametrize(
    ("text", "hosts"),
    [("", []), (" ", []), ("a", ["a"]), ("a,b", ["a", "b"]), (" a , ,b ", ["a", "b"]), ("[::1],b", ["[::1]", "b"])],
)
def test_hosts_with_commas(monkeypatch: pytest.MonkeyPatch, text: str, hosts: list[str]) -> None:
    assert server_settings(None, hosts=text).hosts == hosts
    monkeypatch.setenv("VCOMPOSE_HOSTS", text)
    assert server_settings(None).hosts == hosts


SIZES = (("0", 0), ("1", 1), ("500MB", 500_000_000), ("20GiB", 20 << 30), ("1.5 KiB", 1536), ("2tb", 2 * 10**12))


@pytest.mark.parametrize(("text", "size"), SIZES)
def test_sizes(text: str, size: int) -> None:
    assert server_settings(None, keep_free=text).keep_free == size


WRONG: dict[str, tuple[object, ...]] = {
    "port": (-1, 65536, "x", 1.5, "", "80 81"),
    "jobs": (0, 257, -1, "many"),
    "parallel": (0, 257),
    "max_upload": (0, -1, "-5MB", "big", "5 parsecs", "1e9", ""),
    "max_body": (0, "x"),
    "keep_free": (-1, "-1", "x"),
    "grace": (-1, "nan", "inf", "x", 90_000),
    "slow_request": (0, -1, "nan", "x"),
    "log": ("JSON", "xml", "", 1),
    "url_prefix": (
        "films",
        "/films/",
        "//evil.example",
        "/a b",
        "/ä",
        "/films?x",
        "/<script>",
        "/a\n",
        "https://x",
        "/",
    ),
    "allow_old_ffmpeg": ("perhaps", 7),
    "hosts": (5,),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        server_settings(None, **{name: value})
    assert name in {str(part) for error in refused.value.errors() for part in error["loc"]}
    if not isinstance(value, str):
        (tmp_path / "f.toml").write_text(f"{name} = {value}")
        with pytest.raises(ValidationError):
            server_settings(tmp_path / "f.toml")
    if name != "hosts":
        monkeypatch.setenv(f"VCOMPOSE_{name.upper()}", str(value))
        with pytest.raises(ValidationError):
            server_settings(None)


def test_mistakes_are_told_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vcompose.serve, "open_service", None)  # nothing is served
    file = tmp_path / "f.toml"
    for text, told in (
        ("prot = 9000", "PROT"),
        ("[server]\nport = 9000", "SERVER"),
        ("port = 'x'", "PORT"),
        ('max_upload = "5 parsecs"', "MAX_UPLOAD"),
    ):
        file.write_text(text)
        code, said = serve("--config", str(file))
        assert code == BAD_USAGE, (text, said)
        assert told in said.upper(), (text, said)
        assert "Traceback" not in said
    for flags, told in (
        (("--port", "70000"), "PORT"),
        (("--hosts", "*"), "'*' is no host name"),
        (("--hosts", "ok.example,http://x"), "is no host name"),
        (("--url-prefix", "films"), "URL_PREFIX"),
        (("--keep-free", "-1"), "KEEP_FREE"),
    ):
        code, said = serve(*flags)
        assert (code, told in said) == (BAD_USAGE, True), said
    monkeypatch.setenv("VCOMPOSE_GRACE", "soon")
    code, said = serve()
    assert (code, "VCOMPOSE_GRACE" in said) == (BAD_USAGE, True), said


@pytest.mark.parametrize(
    "content", [b"port = ", b"port 9000", b"port = 1\nport = 2", b"host = \"\xff\"", b"\xff\xfe", b"\0", b"[" * 500]
)  # fmt: skip
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "f.toml"
    file.write_bytes(content)
    code, said = serve("--config", str(file))
    assert code == BAD_USAGE, said
    assert said.strip()
    assert "Traceback" not in said


def test_a_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for missing in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(OSError, match=re.escape(str(missing))):
            server_settings(missing)
        code, said = serve("--config", str(missing))
        assert (code, str(missing) in said) == (BAD_USAGE, True), said
    monkeypatch.setenv("VCOMPOSE_CONFIG", str(tmp_path / "none.toml"))
    assert serve()[0] == BAD_USAGE


def test_an_unknown_flag(tmp_path: Path) -> None:
    assert serve("--prot", "9000")[0] == BAD_USAGE
    assert serve("--config")[0] == BAD_USAGE
    assert not list(tmp_path.iterdir())


def test_every_setting_is_a_flag_and_is_described() -> None:
    result = CliRunner().invoke(application, ["serve", "--help"], env={"COLUMNS": "250", "TERM": "dumb"})
    assert result.exit_code == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", result.output)
    docs = DOCS.read_text(encoding="utf-8")
    for name, field in ServerSettings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        assert re.search(rf"{flag}\b", text), flag
        assert field.description, name
        assert f"`VCOMPOSE_{name.upper()}`" in docs, name
        assert f"`{flag}`" in docs, flag
    assert "--config" in text
    assert "VCOMPOSE_" in text
    told = set(re.findall(r"`VCOMPOSE_([A-Z_]+)`", docs)) - {"CONFIG"}
    assert told == {name.upper() for name in FIELDS}


def test_every_flag_reaches_its_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, Any] = {}

    def listen(file: Path | None, **flags: object) -> ServerSettings:
        given.update(flags, config=file)
        raise tomllib.TOMLDecodeError

    monkeypatch.setattr(vcompose.serve, "server_settings", listen)
    values = {name: str(number) for number, name in enumerate(sorted(FIELDS - {"allow_old_ffmpeg"}), 1)}
    flags = [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", value)]
    assert serve(*flags, "--allow-old-ffmpeg", "--config", "c.toml")[0] == BAD_USAGE
    assert set(given) == {*FIELDS, "config"}
    for name, value in values.items():
        assert str(given[name]) in {value, f"{value}.0"}, name
    assert given["allow_old_ffmpeg"] is True
    assert given["config"] == Path("c.toml")
    given.clear()
    assert serve()[0] == BAD_USAGE
    assert set(given.values()) == {None}
    assert not list(tmp_path.iterdir())
