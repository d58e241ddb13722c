"""Problems: every code has a status and words in both languages, and what strangers write stays text."""

# ruff: noqa: RUF001 - Chinese punctuation is meant

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import vcompose
from vcompose.jobs.lifecycle import State
from vcompose.media import composition, errors, guards, header
from vcompose.web import problems
from vcompose.web.problems import KINDS, Kind, Language, kind, preferred, sentence

PACKAGE: Final = Path(vcompose.__file__).parent
CHINESE: Final = re.compile(r"[\u4e00-\u9fff]")
PLACES: Final = {"clip", "state", "limit", "detail", "where"}
NOT_PROBLEMS: Final = {"Reason", "StoreError"}
"""What has codes of its own: the reasons of a plan are no problems, and without its data no server answers."""

STATUSES: Final[Mapping[int, str]] = {
    400: "too_few_clips too_many_clips bad_composition bad_size bad_fps bad_value bad_request bad_json bad_multipart "
    "bad_cursor bad_filename bad_idempotency_key",
    403: "origin_not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    409: "wrong_state clip_in_use no_output",
    412: "precondition_failed",
    413: "too_large",
    415: "unsupported_media_type compressed_body",
    416: "range_not_satisfiable",
    417: "expectation_failed",
    421: "host_not_allowed",
    422: "clip_refused not_a_file not_readable empty_file not_a_video playlist_refused no_video_stream undecodable "
    "too_many_streams too_large_picture too_long too_fast broken_times probe_timeout cannot_copy clip_not_found "
    "idempotency_key_reused not_supported output_type",
    426: "upgrade_required",
    429: "too_many_requests",
    431: "header_too_large",
    500: "internal_error clip_lost media_error step_failed ffmpeg_failed stalled timeout no_process pictures_missing "
    "clip_changed verification_failed place_gone output_not_writable bad_output server_died job_error fenced "
    "cancel_wished",
    503: "stopping busy tool_missing tool_too_old tool_broken not_ready",
    507: "no_space",
}
LISTED: Final = {code: status for status, codes in STATUSES.items() for code in codes.split()}


def literals(node: ast.expr | None) -> Iterator[str]:
    """The strings that an expression can be: one, or either branch of a choice."""
    if isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def called(node: ast.expr) -> str:
    """The last name of what is called: ``E`` of ``E(…)`` and of ``errors.E(…)``."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def code_first(trees: Iterable[ast.AST]) -> set[str]:
    """The classes that take a code as their first argument."""
    return {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for made in node.body
        if isinstance(made, ast.FunctionDef) and made.name == "__init__"
        if [argument.arg for argument in made.args.args[1:2]] == ["code"]
    }


def inits(node: ast.ClassDef) -> Iterator[ast.Call]:
    """The calls of ``super().__init__`` with an argument in a class."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and called(inner.func) == "__init__" and inner.args:
            yield inner


def codes(trees: Sequence[ast.AST]) -> Iterator[tuple[str, str]]:
    """Every code in the modules, with the class whose own it is, or that is called with it."""
    first = code_first(trees)
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and called(node.func) not in NOT_PROBLEMS:
            owner = called(node.func)
            given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            given += node.args[:1] if owner in first else []
            yield from ((owner, code) for value in given for code in literals(value))
        elif isinstance(node, ast.ClassDef):
            if first & set(map(called, node.bases)):
                yield from ((node.name, code) for call in inits(node) for code in literals(call.args[0]))
            for line in node.body:
                if isinstance(line, ast.Assign):
                    names = [called(target) for target in line.targets]
                elif isinstance(line, ast.AnnAssign):
                    names = [called(line.target)]
                else:
                    continue
                if "code" in names:
                    yield from ((node.name, code) for code in literals(line.value))


FOUND: Final = sorted(
    set(
        codes(
            [
                ast.parse(path.read_text(encoding="utf-8"))
                for room in ("media", "jobs")
                for path in (PACKAGE / room).rglob("*.py")
            ]
        )
    )
)


def holes(text: str) -> set[str]:
    return set(re.findall(r"\{(.*?)\}", text))


def test_the_walk_sees_every_way_to_write_a_code() -> None:
    text = """
class A(E): code = "one"
class B(E): code: str = "two"
class C: code: str
class D(E):
    def __init__(self, code, detail): ...
class F(D):
    def __init__(self, name): super().__init__("seven", name)
raise E("x", code="three" if x == "no" else "four")
raise m.E("x", code="five")
raise D("six", "x")
raise E("no", "x")
Reason(code="no")
E(code=e.code)
"""
    numbers = [("A", "one"), ("B", "two"), ("E", "three"), ("E", "four"), ("E", "five"), ("D", "six"), ("F", "seven")]
    assert sorted(codes([ast.parse(text)])) == sorted(numbers)
    found = {code for _, code in FOUND}
    assert found >= {
        "timeout",
        "stalled",
        "server_died",
        "fenced",
        "media_error",
        "not_a_video",
        "not_found",
        "too_large",
    }
    assert not found & {"variable_rate", "corrupt"}


@pytest.mark.parametrize(("owner", "code"), FOUND)
def test_every_code_of_the_rooms_inside_has_an_entry(owner: str, code: str) -> None:
    assert code in KINDS, f"{owner}: {code}"


@pytest.mark.parametrize("code", sorted({code for owner, code in FOUND if owner == "ClipError"}))
def test_what_a_clip_does_not_allow_is_422(code: str) -> None:
    # one name for two things, and one that only happens while a film is made
    assert kind(code).status == {"not_found": 404, "clip_changed": 500}.get(code, 422)


def test_documented_codes_have_an_entry() -> None:
    for error in (errors.ClipError, errors.CompositionError, errors.ToolError, errors.StepError):
        documented = re.findall(r"``(\w+)``", (error.__doc__ or "").partition("Codes:")[2])
        assert documented
        assert set(documented) <= set(KINDS)


def test_statuses() -> None:
    assert {code: one.status for code, one in KINDS.items()} == LISTED


def test_failures_are_no_answers() -> None:
    assert not set(problems._ANSWERS) & set(problems._FAILURES)
    assert {one.status for one in problems._FAILURES.values()} == {500}


@pytest.mark.parametrize(("code", "one"), KINDS.items())
def test_words(code: str, one: Kind) -> None:
    assert re.fullmatch(r"[a-z][a-z_]*", code)
    assert re.fullmatch(r"[A-Z][A-Za-z ]{2,40}", one.title)
    assert CHINESE.search(one.title_zh)
    assert len(one.title_zh) <= 20
    assert CHINESE.search(one.detail_zh)
    assert not re.search(r"[,;:!?。]", one.detail_zh), "Chinese punctuation, and no full stop at the end"
    assert holes(one.detail_zh) <= PLACES
    assert "{" not in re.sub(r"\{\w+\}", "", one.detail_zh)


@pytest.mark.parametrize("field", ["title", "title_zh", "detail_zh"])
def test_no_two_codes_say_the_same(field: str) -> None:
    said = [getattr(one, field) for one in KINDS.values()]
    assert sorted({text for text in said if said.count(text) > 1}) == []


def test_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        KINDS["new"] = KINDS["busy"]  # type: ignore[index]


def test_unknown_code_is_an_internal_error() -> None:
    assert kind("never_heard_of") is KINDS["internal_error"]
    assert kind("never_heard_of").status == 500
    assert sentence("never_heard_of", "x", Language.ZH) == KINDS["internal_error"].detail_zh


def test_too_few_clips() -> None:
    assert sentence("too_few_clips", "add another", Language.ZH) == "至少需要选择两个视频进行合成"


def test_bounds_are_those_of_the_rooms_inside() -> None:
    size = KINDS["bad_size"].detail_zh
    assert f" {composition.SMALLEST} 到 {composition.LARGEST} " in size
    assert f" 1 到 {composition.FASTEST} " in KINDS["bad_fps"].detail_zh
    assert f" {guards.MOST_STREAMS} " in KINDS["too_many_streams"].detail_zh
    assert f" {header.FASTEST} " in KINDS["too_fast"].detail_zh
    assert f" {header.MOST_SECONDS // 3600} " in KINDS["too_long"].detail_zh
    match = re.search(r"(\d+)x(\d+)", KINDS["too_large_picture"].detail_zh)
    assert match is not None
    assert int(match[1]) * int(match[2]) == guards.MOST_PIXELS


# ---- sentences ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [*KINDS, "never_heard_of"])
def test_english_is_the_detail_as_it_is(code: str) -> None:
    detail = "{clip} is empty: {0.__class__} copy it again"
    assert sentence(code, detail, Language.EN, {"clip": "a.mp4", "state": "failed"}) == detail


@pytest.mark.parametrize("code", sorted(KINDS))
@pytest.mark.parametrize("parameters", [{}, dict.fromkeys(PLACES), dict.fromkeys(PLACES, ""), {"other": 1}])
def test_missing_parameters_leave_a_whole_sentence(code: str, parameters: Mapping[str, object]) -> None:
    told = sentence(code, "", Language.ZH, parameters)
    assert not re.search(r"[{}]|None|（）|处于", told)
    if "{clip}" in KINDS[code].detail_zh:
        assert "该视频" in told
        assert "“该视频”" not in told


def test_missing_state() -> None:
    assert sentence("wrong_state", "", Language.ZH).startswith("该任务的状态已变化，")


@pytest.mark.parametrize("code", sorted(code for code, one in KINDS.items() if "{clip}" in one.detail_zh))
def test_the_clip_is_named(code: str) -> None:
    assert "“假期 (1).mov”" in sentence(code, "x", Language.ZH, {"clip": "假期 (1).mov"})


def test_clip_errors_name_the_clip() -> None:
    about_clips = {code for owner, code in FOUND if owner == "ClipError"} - {"not_found"}
    for code in about_clips | {"clip_not_found", "clip_in_use", "cannot_copy"}:
        assert "{clip}" in KINDS[code].detail_zh, code


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (State.PENDING, "等待中"),
        (State.PROCESSING, "处理中"),
        (State.COMPLETED, "已完成"),
        (State.FAILED, "失败"),
        (State.CANCELLED, "已取消"),
        ("completed", "已完成"),
        ("unheard", "unheard"),
    ],
)
def test_states(state: str, word: str) -> None:
    assert sentence("wrong_state", "x", Language.ZH, {"state": state}).startswith(f"该任务处于“{word}”状态，")


def test_every_state_has_a_word() -> None:
    assert set(problems._STATES) == set(State)


def test_limits() -> None:
    assert sentence("too_large", "x", Language.ZH, {"limit": "2 GB"}).startswith("上传内容超过大小上限（2 GB），")
    assert sentence("too_many_clips", "x", Language.ZH, {"limit": 100}).startswith("选择的视频超过数量上限（100），")


def test_details() -> None:
    told = sentence("bad_json", "clips: a list is wanted", Language.ZH, {"detail": "another"})
    assert told == "请求正文不是有效的 JSON（clips: a list is wanted），请修改后重试"


HOSTILE: Final = (
    "{0.__class__}", "{clip.__class__.__mro__}", "{clip}", "{state}", "{detail}{limit}", "{{clip}}", "{", "}", "{}",
    "%s %(clip)s", "$clip ${clip}", r"\1 \g<0> \g<clip>", "\\", "”，请", "\x00\n\u202e", "a" * 500,
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("code", ["undecodable", "too_large", "bad_json", "wrong_state"])
def test_what_strangers_write_is_text(code: str, name: str) -> None:
    place = next(iter(holes(KINDS[code].detail_zh)))
    told = sentence(code, name, Language.ZH, dict.fromkeys(PLACES, name))
    before, behind = KINDS[code].detail_zh.split("{" + place + "}")
    put = {"clip": f"“{name}”", "state": f"处于“{name}”状态"}.get(place, f"（{name}）")
    assert told == before + put + behind


@settings(deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.text(), st.dictionaries(st.sampled_from(sorted(PLACES)), st.text()))
def test_any_sentence(code: str, detail: str, parameters: dict[str, str]) -> None:
    told = sentence(code, detail, Language.ZH, parameters)
    assert CHINESE.search(told)
    for place in holes(KINDS[code].detail_zh) - {"state", "detail"}:
        assert parameters.get(place, "") in told


# ---- languages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        (None, "en"),
        ("", "en"),
        (" , ,", "en"),
        ("zh", "zh"),
        ("ZH-cn", "zh"),
        ("zh-TW", "zh"),
        ("zh-Hans-CN", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("en;q=0.8, zh;q=0.9", "zh"),
        ("en ; q=0.8\t,\tzh ; Q=0.9", "zh"),
        ("fr, de;q=0.9", "en"),
        ("fr, zh;q=0.1", "zh"),
        ("zh, en", "zh"),
        ("en, zh", "en"),
        ("zh;q=0.5, en;q=0.5", "zh"),
        ("*", "en"),
        ("*, zh", "zh"),
        ("zh;q=0.5, *", "en"),
        ("en;q=0.5, *", "zh"),
        ("en;q=0, *;q=0.1", "zh"),
        ("zh;q=0", "en"),
        ("zh;q=0.000", "en"),
        ("zh;q=0, en;q=0.1", "en"),
        ("zh;q=0, *", "en"),
        ("zh-CN;q=0, fr", "en"),
        ("zh;q=0, zh-CN", "zh"),
        ("en;q=0", "en"),
        ("zh;q=1.000, en;q=0.999", "zh"),
        ("zh;q=0.001", "zh"),
        ("zh;q=1.5", "en"),
        ("zh;q=-1", "en"),
        ("zh;q=nan", "en"),
        ("zh;q=", "en"),
        ("zh;q=1;x=2", "en"),
        ("zh;level=1", "en"),
        ("zhx", "en"),
        ("zh_CN", "en"),
        ("zh;q=\u0661", "en"),
        ("中文", "en"),
        ("en;q=x, zh;q=0.2", "zh"),
        ("\ud800, zh", "zh"),
    ],
)
def test_preferred(accepted: str | None, language: str) -> None:
    assert preferred(accepted) is Language(language)


PARTS: Final = st.sampled_from(["zh", "en", "*", "-CN", "-", ";", "q=", "0", "1", ".5", ",", " ", "\t", "=", "fr"])


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(PARTS).map("".join)))
@example("," * 100_000)
@example("zh" + "-a" * 50_000 + "!")
@example("zh;q=0." + "0" * 100_000)
def test_garbage_never_raises(accepted: str) -> None:
    told = preferred(accepted)
    assert told in Language
    if "zh" not in accepted.lower() and "*" not in accepted:
        assert told is Language.EN
