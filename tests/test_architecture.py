"""The house: which room may import which, what only one module may do, and no arrow that turns back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parents[1] / "vcompose"

ROOMS: Final = {
    "media": {"media"},
    "jobs": {"jobs", "media"},
    "web": {"web", "jobs"},
    "": {"", "media", "jobs", "web"},
}
"""What the modules of each room may import; "" is the top: command line, library, composition root."""

STARTERS: Final = {"media/child.py"}
"""Modules that may start or signal a process."""
LATE: Final = {"__init__.py", "__main__.py"}
"""Modules that may import when they run: the command line listens to signals before the rest is read."""
ENVIRONMENT_READERS: Final = {"settings.py"}
FIELD_NAMERS: Final = {
    "media": {"media/wire.py"},
    "jobs": {"jobs/document.py"},
    "web": {"web/wire.py", "web/openapi.py"},
    "": {"cli.py", "client.py"},
}
"""Modules, one a room, that write JSON documents for others."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room(path: Path) -> str:
    first, _, rest = name(path).partition("/")
    return first if rest else ""


def imports(path: Path) -> Iterator[tuple[str, ast.Import | ast.ImportFrom]]:
    """Every import of ours: the module's path below the package, and the node."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            assert node.level == 0, f"{name(path)}: imports are absolute"
            assert node.module is not None
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for imported in names:
            if imported == "vcompose" or imported.startswith("vcompose."):
                yield imported.removeprefix("vcompose").removeprefix(".").replace(".", "/"), node


def targets(path: Path) -> set[str]:
    """The modules of ours that a module imports, as names of files."""
    found: set[str] = set()
    for imported, _ in imports(path):
        for candidate in (f"{imported}.py", f"{imported}/__init__.py" if imported else "__init__.py"):
            if (PACKAGE / candidate).is_file():
                found.add(candidate)
    return found - {name(path)}


@pytest.mark.parametrize("path", modules(), ids=name)
def test_arrows_point_one_way(path: Path) -> None:
    for target in targets(path):
        # the rooms' own __init__ files hold nothing but words
        assert room(PACKAGE / target) in ROOMS[room(path)], f"{name(path)} must not import {target}"


def test_no_cycles() -> None:
    graph = {name(path): targets(path) - {"__init__.py", "media/__init__.py"} for path in modules()}
    tuple(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", modules(), ids=name)
def test_imports_stand_at_the_top(path: Path) -> None:
    for _, node in imports(path):
        # the script sets up signals before the slow imports, and both say so there
        assert node.col_offset == 0 or name(path) in LATE, f"{name(path)}: an import inside a function"
    types_only = "TYPE_CHECKING" in path.read_text() and name(path) not in LATE
    assert not types_only, f"{name(path)}: an import for types only hides a wrong arrow"


def calls(path: Path) -> set[str]:
    """Dotted names that a module uses: ``os.killpg``, ``asyncio.create_subprocess_exec`` …"""
    return {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


@pytest.mark.parametrize("path", modules(), ids=name)
def test_one_module_starts_and_signals(path: Path) -> None:
    forbidden = {
        "os.kill", "os.killpg", "os.system", "os.popen", "os.fork", "os.posix_spawn", "os.execv",
        "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell",
    }  # fmt: skip
    used = calls(path) & forbidden
    assert not used or name(path) in STARTERS, f"{name(path)} uses {used}"
    text = path.read_text()
    assert "import subprocess" not in text, name(path)
    assert "preexec_fn" not in text, name(path)
    assert "shell=True" not in text, name(path)


@pytest.mark.parametrize("path", modules(), ids=name)
def test_one_module_reads_the_environment(path: Path) -> None:
    used = calls(path) & {"os.environ", "os.getenv", "os.environb"}
    assert not used or name(path) in ENVIRONMENT_READERS, f"{name(path)} uses {used}"


@pytest.mark.parametrize("path", modules(), ids=name)
def test_one_module_a_room_names_the_fields(path: Path) -> None:
    writes = "json.dumps" in calls(path) or "import json" in path.read_text() or "model_dump" in path.read_text()
    assert not writes or name(path) in FIELD_NAMERS.get(room(path), set()), f"{name(path)} writes JSON"


@pytest.mark.parametrize("path", modules(), ids=name)
def test_no_drawer_for_everything(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "common", "manager", "misc"}
    assert len(path.read_text().splitlines()) <= 420, f"{name(path)} holds more than one idea"


def test_every_module_says_what_it_is() -> None:
    for path in modules():
        assert ast.get_docstring(ast.parse(path.read_text())), f"{name(path)} has no docstring"
