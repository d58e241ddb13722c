"""Problems, as the web tells them: for each stable code its HTTP status and its words in English and Chinese.

The only place that knows them; the RFC 9457 documents are made from it. The rooms inside raise errors with a code and
an English sentence (``detail``) that names the file, says what is wrong and what to do. English readers get that
sentence; Chinese readers the template here, filled with the few things that a sentence is about. What is filled in
comes from strangers and is text, nothing else: it is never read as a template.
"""

# ruff: noqa: RUF001 - Chinese punctuation is meant

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from vcompose.jobs.lifecycle import State


class Language(StrEnum):
    """What problems are told in; ``zh`` answers zh-CN, zh-TW, zh-Hans …, always in Simplified Chinese."""

    EN = "en"
    ZH = "zh"


_RANGE: Final = re.compile(
    r"([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9]{1,8})*(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]*)?|1(?:\.0*)?))?"
)
"""A language range with its quality: RFC 9110, 12.5.4 and 12.4.2."""


def preferred(accept_language: str | None) -> Language:
    """The language that an ``Accept-Language`` header wants most; English where it wants none of ours.

    The higher quality wins, then a language that is named over one that ``*`` stands for, then the one named first.
    A quality of 0 refuses; what is no language range is passed over.
    """
    wishes: dict[str, float] = {}
    for element in (accept_language or "").split(","):
        match = _RANGE.fullmatch(element.strip(" \t"))
        if match is not None:
            name, quality = match[1].lower(), float(match[2] or 1)
            wishes[name] = max(quality, wishes.get(name, 0.0))
    order = list(wishes)
    best, language = (0.0, False, 0), Language.EN
    for ours in Language:
        named = ours in wishes
        rank = (wishes.get(ours, wishes.get("*", 0.0)), named, -order.index(ours) if named else 0)
        if rank[0] > 0 and rank > best:
            best, language = rank, ours
    return language


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of problem: its HTTP status, its title (the same at every occurrence), and the Chinese sentence.

    ``detail_zh`` may hold ``{clip}``, ``{state}``, ``{limit}`` and ``{detail}`` (the English sentence); see
    :func:`sentence`. Like the English ones it has no full stop at its end.
    """

    status: int
    title: str
    title_zh: str
    detail_zh: str


def _of(status: int, title: str, title_zh: str, detail_zh: str) -> Kind:
    return Kind(status=status, title=title, title_zh=title_zh, detail_zh=detail_zh)


# fmt: off
_ANSWERS: Final = {
    # ---- the request itself is wrong -----------------------------------------------------------------------------
    "too_few_clips": _of(400, "Too few clips", "视频数量不足",
        "至少需要选择两个视频进行合成"),
    "too_many_clips": _of(400, "Too many clips", "视频数量过多",
        "选择的视频超过数量上限{limit}，请减少一些后再试"),
    "bad_composition": _of(400, "Invalid composition", "合成请求无效",
        "合成请求无效，请检查所选视频和输出设置"),
    "bad_size": _of(400, "Invalid size", "分辨率无效",
        "输出分辨率无效，请按“1920x1080”的格式填写，宽和高须为 16 到 8192 之间的偶数"),
    "bad_fps": _of(400, "Invalid frame rate", "帧率无效",
        "输出帧率无效，请填写 1 到 240 之间的数值，例如 25 或 30000/1001"),
    "bad_value": _of(400, "Invalid value", "参数值无效",
        "参数值无效{detail}，请改用允许的值"),
    "bad_request": _of(400, "Invalid request", "请求无效",
        "请求内容不符合要求{where}，请修改后重试"),
    "bad_json": _of(400, "Invalid JSON", "JSON 无效",
        "请求正文不是有效的 JSON{detail}，请修改后重试"),
    "bad_multipart": _of(400, "Invalid upload", "上传数据无效",
        "上传的表单不完整或格式有误：每次请只上传一个文件（curl -F file=@clip.mp4）"),
    "bad_cursor": _of(400, "Invalid cursor", "翻页参数无效",
        "翻页参数无效，请回到第一页重新加载"),
    "bad_filename": _of(400, "Invalid file name", "文件名无效",
        "文件名无效，不能含有斜杠等特殊字符，成片还须以 .mp4 结尾，请修改后重试"),
    "bad_idempotency_key": _of(400, "Invalid idempotency key", "幂等键无效",
        "请求头 Idempotency-Key 的值无效{detail}，请更换后重试"),
    # ---- what HTTP itself refuses --------------------------------------------------------------------------------
    "origin_not_allowed": _of(403, "Origin not allowed", "来源不被允许",
        "不接受来自其他网站的请求，请在本服务的页面上操作"),
    "not_found": _of(404, "Not found", "未找到",
        "找不到请求的内容，可能已被删除或地址有误，请刷新页面后再试"),
    "method_not_allowed": _of(405, "Method not allowed", "请求方法不被允许",
        "该地址不支持此请求方法，请查阅接口文档"),
    "not_acceptable": _of(406, "Not acceptable", "无法提供所需格式",
        "无法以所要求的格式返回内容，请调整请求头 Accept 后重试"),
    "request_timeout": _of(408, "Request timeout", "请求超时",
        "等待请求数据超时，请检查网络后重试"),
    "wrong_state": _of(409, "Not possible in this state", "当前状态不支持此操作",
        "该任务{state}，无法执行此操作，请刷新页面查看最新状态"),
    "clip_in_use": _of(409, "Clip in use", "视频正在使用",
        "{clip}正被未结束的任务使用，请等待任务结束或取消任务后再删除"),
    "no_output": _of(409, "No film", "没有成片",
        "该任务目前没有成片，任务完成后才能播放或下载"),
    "precondition_failed": _of(412, "Precondition failed", "内容已变化",
        "内容已发生变化，请刷新后重试"),
    "too_large": _of(413, "Too large", "内容过大",
        "上传内容超过大小上限{limit}，请压缩或剪短后再上传"),
    "unsupported_media_type": _of(415, "Unsupported media type", "不支持的内容类型",
        "不支持该内容类型：合成请求应为 JSON（application/json），上传视频请使用表单（curl -F file=@clip.mp4）"),
    "compressed_body": _of(415, "Compressed body", "不接受压缩的请求正文",
        "不接受压缩过的请求正文，请去掉请求头 Content-Encoding，改为发送原始内容"),
    "range_not_satisfiable": _of(416, "Range not satisfiable", "请求范围无效",
        "请求的范围超出了文件大小，请重新播放或下载"),
    "expectation_failed": _of(417, "Expectation failed", "无法满足请求条件",
        "无法满足请求头 Expect 的要求，请去掉后重试"),
    "host_not_allowed": _of(421, "Host not allowed", "访问地址不被允许",
        "不能通过该域名访问本服务，请改用管理员提供的地址"),
    "upgrade_required": _of(426, "WebSocket required", "需要 WebSocket 连接",
        "该地址只接受 WebSocket 连接，请改用 WebSocket 访问"),
    "too_many_requests": _of(429, "Too many requests", "请求过于频繁",
        "请求过于频繁，请稍后再试"),
    "header_too_large": _of(431, "Header too large", "请求头过大",
        "请求头过大，请清除浏览器中本站的 Cookie 后重试"),
    # ---- what the clips, or this version, do not allow -----------------------------------------------------------
    "clip_refused": _of(422, "Clip refused", "视频无法使用",
        "{clip}无法使用，请换一个视频"),
    "not_a_file": _of(422, "Not a file", "不是文件",
        "{clip}不是普通文件，请选择视频文件本身"),
    "not_readable": _of(422, "Clip not readable", "视频无法读取",
        "无法读取{clip}，请检查文件后重新上传"),
    "empty_file": _of(422, "Empty file", "空文件",
        "{clip}是空文件，请从来源处重新复制后再上传"),
    "not_a_video": _of(422, "Not a video", "不是视频文件",
        "{clip}不是可识别的视频文件，请改用 MP4、MOV 等常见格式的视频"),
    "playlist_refused": _of(422, "Playlist refused", "不接受播放列表",
        "{clip}是播放列表，不是视频，请上传列表所指向的视频文件"),
    "no_video_stream": _of(422, "No moving picture", "没有视频画面",
        "{clip}中没有视频画面，请换一个带画面的视频"),
    "undecodable": _of(422, "Clip cannot be decoded", "视频无法解码",
        "无法解码{clip}，文件可能已损坏或编码不受支持，请确认能正常播放，或转换格式后重新上传"),
    "too_many_streams": _of(422, "Too many streams", "轨道过多",
        "{clip}的轨道超过 32 条，请只保留一条画面和一条声音后重新上传"),
    "too_large_picture": _of(422, "Picture too large", "画面过大",
        "{clip}的画面超过 8192x4320，请缩小后重新上传"),
    "too_long": _of(422, "Clip too long", "视频过长",
        "{clip}的时长超过 24 小时，或中间有过长的空白，请拆分或修复时间戳后重新上传"),
    "too_fast": _of(422, "Frame rate too high", "帧率过高",
        "{clip}的帧率超过每秒 1000 帧，时间戳可能有误，请转换格式后重新上传"),
    "broken_times": _of(422, "Broken time stamps", "时间戳错乱",
        "{clip}的时间戳中途重新开始，可能由多个文件拼接而成，请分别上传原文件，或转换格式后重新上传"),
    "probe_timeout": _of(422, "Probing took too long", "分析超时",
        "分析{clip}超时，请确认文件完整后重新上传"),
    "cannot_copy": _of(422, "Cannot copy", "无法直接复制",
        "已选择仅复制，但{clip}需要重新编码，请允许重新编码，或移除不符合的视频"),
    "clip_not_found": _of(422, "Clip not found", "找不到视频",
        "找不到{clip}，可能已被删除，请重新上传或将其移出列表"),
    "idempotency_key_reused": _of(422, "Idempotency key reused", "幂等键重复使用",
        "该 Idempotency-Key 已用于另一个请求，请换一个新的值"),
    "not_supported": _of(422, "Not supported", "暂不支持",
        "当前版本暂不支持此功能{detail}，请调整设置后重试"),
    "output_type": _of(422, "Unsupported output type", "输出格式不受支持",
        "成片只能是 MP4 文件，请使用以 .mp4 结尾的文件名"),
    # ---- the server is to blame; of these a failed job may carry internal_error, tool_… and no_space as well ------
    "internal_error": _of(500, "Internal error", "服务器内部错误",
        "服务器内部出错，请稍后重试，若问题持续出现，请联系管理员"),
    "stopping": _of(503, "Stopping", "服务正在停止",
        "服务正在停止，请稍后重试"),
    "busy": _of(503, "Busy", "服务繁忙",
        "服务繁忙，请稍后重试"),
    "tool_missing": _of(503, "Program missing", "缺少必要程序",
        "服务器上没有可用的 ffmpeg 或 ffprobe，请联系管理员安装"),
    "tool_too_old": _of(503, "Program too old", "程序版本过旧",
        "服务器上的 ffmpeg 或 ffprobe 版本过旧，存在安全风险，请联系管理员升级"),
    "tool_broken": _of(503, "Program cannot be run", "程序无法运行",
        "服务器上的 ffmpeg 或 ffprobe 无法运行，请联系管理员检查"),
    "not_ready": _of(503, "Not ready", "服务尚未就绪",
        "服务尚未就绪，请稍后重试"),
    "no_space": _of(507, "No space left", "存储空间不足",
        "服务器存储空间不足，请删除不需要的视频或任务后重试"),
}
"""What a request can be answered with."""

_FAILURES: Final = {
    "clip_lost": _of(500, "Clip lost", "视频数据丢失",
        "服务器上的视频数据已丢失，请重新上传该视频后再合成"),
    "media_error": _of(500, "Processing failed", "处理失败",
        "处理视频时出错，请重试"),
    "step_failed": _of(500, "Step failed", "处理步骤失败",
        "处理{clip}时出错，请重试，若仍然失败，请换一个视频或转换格式"),
    "ffmpeg_failed": _of(500, "Encoding failed", "视频处理失败",
        "处理{clip}时 ffmpeg 出错，请确认视频能正常播放后重试，或转换格式后重新上传"),
    "stalled": _of(500, "Processing stalled", "处理停滞",
        "处理{clip}时长时间没有进展，任务已停止，请重试"),
    "timeout": _of(500, "Processing took too long", "处理超时",
        "处理{clip}耗时过长，任务已停止，请重试，或缩短视频后再试"),
    "no_process": _of(500, "Program not started", "程序启动失败",
        "服务器资源不足，无法启动处理程序，请稍后重试"),
    "pictures_missing": _of(500, "Pictures missing", "画面缺失",
        "{clip}有部分画面无法处理，文件可能已损坏，请转换格式后重新上传"),
    "clip_changed": _of(500, "Clip changed", "视频发生变化",
        "{clip}在合成过程中被修改或删除，请保持文件不变，重新合成"),
    "verification_failed": _of(500, "Verification failed", "成片校验未通过",
        "成片未通过校验，因此没有保存，请重试，若仍然失败，请联系管理员"),
    "place_gone": _of(500, "Working folder gone", "工作目录丢失",
        "合成过程中工作目录被删除，请重试"),
    "output_not_writable": _of(500, "Output not writable", "成片无法写入",
        "服务器无法写入成片，请联系管理员检查存储目录"),
    "bad_output": _of(500, "Output impossible", "成片无法保存",
        "成片无法保存到指定位置，请联系管理员检查存储目录"),
    "server_died": _of(500, "Server died repeatedly", "服务多次中断",
        "处理该任务时服务多次意外中断，任务已停止，请减少视频或降低分辨率后重试"),
    "job_error": _of(500, "Job failed", "任务出错",
        "任务出错，请重试"),
    "fenced": _of(500, "Attempt superseded", "处理已被取代",
        "本次处理已被新的处理取代，请刷新页面查看最新状态"),
    "cancel_wished": _of(500, "Cancel wished", "任务正在取消",
        "该任务正在取消，请刷新页面查看最新状态"),
}
"""Only ever the ``error.code`` of a failed job, or seen inside the server: no request is answered with these, and
their status is there for the case that one gets out all the same."""
# fmt: on

KINDS: Final[Mapping[str, Kind]] = MappingProxyType({**_ANSWERS, **_FAILURES})


def kind(code: str) -> Kind:
    """The kind of problem that a code names; a code that nobody knows is an internal error."""
    return KINDS.get(code, KINDS["internal_error"])


_STATES: Final[Mapping[str, str]] = {
    State.PENDING: "等待中",
    State.PROCESSING: "处理中",
    State.COMPLETED: "已完成",
    State.FAILED: "失败",
    State.CANCELLED: "已取消",
}
_PLACE: Final = re.compile(r"\{(clip|state|limit|detail|where)\}")
_BEFORE: Final = {"clip": "“", "state": "处于“", "limit": "（", "detail": "（", "where": "（"}
_BEHIND: Final = {"clip": "”", "state": "”状态", "limit": "）", "detail": "）", "where": "）"}
_MISSING: Final = {"clip": "该视频", "state": "的状态已变化", "limit": "", "detail": "", "where": ""}
"""What stands for a parameter that is not known: the sentence stays whole."""


def sentence(code: str, detail: str, language: Language, parameters: Mapping[str, object] = {}) -> str:
    """The ``detail`` of a problem document: in English ``detail`` as it is, in Chinese the code's own sentence.

    ``parameters``: ``clip`` the person's own name of the file, ``state`` the job's present state, ``limit`` the bound
    as people read it (``2 GB``, ``100``), ``where`` the place of the fault and what is wrong, in Chinese. Each may
    be missing, None or empty, and none is read as a template.
    """
    if language is Language.EN:
        return detail
    given = {**parameters, "detail": detail}

    def fill(place: re.Match[str]) -> str:
        name = place[1]
        value = given.get(name)
        text = "" if value is None else str(value)
        if name == "state":
            text = _STATES.get(text, text)
        return f"{_BEFORE[name]}{text}{_BEHIND[name]}" if text else _MISSING[name]

    return _PLACE.sub(fill, kind(code).detail_zh)
