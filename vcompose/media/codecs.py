"""The decoders that files from strangers may reach: what people's devices and programs write, and no more.

ffmpeg knows hundreds; each is code that reads a stranger's bytes. The names are ffmpeg's decoder names, several for
one codec where builds differ (``libdav1d`` decodes AV1 in one build, ``libaom-av1`` in another).
"""

from __future__ import annotations

from typing import Final

VIDEO: Final = frozenset(
    {
        "h264", "hevc", "vvc", "av1", "libdav1d", "libaom-av1", "vp8", "vp9", "libvpx", "libvpx-vp9",
        "vp6", "vp6f", "vp6a", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4",
        "h261", "h263", "h263i", "h263p", "flv", "wmv1", "wmv2", "wmv3", "vc1", "svq1", "svq3", "cinepak",
        "indeo3", "indeo4", "indeo5", "rv30", "rv40", "theora", "mjpeg", "mjpegb", "dvvideo", "prores", "dnxhd",
        "cfhd", "jpeg2000", "huffyuv", "ffvhuff", "ffv1", "utvideo", "lagarith", "qtrle", "rawvideo", "v210",
        "v410", "yuv4", "r210", "png", "gif", "bmp", "msrle", "msvideo1", "rpza", "smc", "cscd", "zmbv",
        "camtasia", "flashsv", "flashsv2", "8bps", "hap",
    }
)  # fmt: skip

AUDIO: Final = frozenset(
    {
        "aac", "aac_latm", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "mp3adu", "mp3adufloat",
        "mp3on4", "mp3on4float", "ac3", "ac3_fixed", "eac3", "dca", "truehd", "mlp", "opus", "libopus", "vorbis",
        "libvorbis", "flac", "alac", "amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "wmav1", "wmav2",
        "wmapro", "wmalossless", "wmavoice", "speex", "libspeex", "nellymoser", "qdm2", "qdmc", "mace3", "mace6",
        "gsm", "gsm_ms", "cook", "sipr", "ra_144", "ra_288", "atrac3", "atrac3p", "atrac3al", "atrac3pal", "atrac9",
        "ape", "als", "imc", "qcelp", "evrc", "truespeech", "sonic", "dolby_e", "ac4", "dss_sp", "hcom", "siren",
 "g722", "g723_1", "g729", "wavpack", "tta",
        "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt", "adpcm_swf", "adpcm_yamaha", "adpcm_g726", "adpcm_g726le",
        "adpcm_g722", "adpcm_ct", "adpcm_ima_amv", "adpcm_ima_smjpeg", "adpcm_sbpro_2", "adpcm_sbpro_3",
        "adpcm_sbpro_4",
        "pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s8", "pcm_s8_planar", "pcm_s16le", "pcm_s16be",
        "pcm_s16le_planar", "pcm_s24le", "pcm_s24be", "pcm_s24le_planar", "pcm_s24daud", "pcm_s32le", "pcm_s32be",
        "pcm_s32le_planar", "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_u16le", "pcm_u16be",
        "pcm_bluray", "pcm_dvd", "pcm_lxf", "s302m",
    }
)  # fmt: skip

GUARDS: Final = (
    "-codec_whitelist:v", ",".join(sorted(VIDEO)), "-codec_whitelist:a", ",".join(sorted(AUDIO)),
)  # fmt: skip
"""Input options of ffmpeg and ffprobe. Subtitles and data are never decoded, so they need no list; with one, a
subtitle track outside it would fail the whole file."""

_DECODED_BY: Final = {
    "av1": "av1",
    "msmpeg4v3": "msmpeg4",
    "flv1": "flv",
    "amr_nb": "amrnb",
    "amr_wb": "amrwb",
    "dts": "dca",
}


def is_known_video(codec: str) -> bool:
    """Whether a codec, by ffprobe's name for it, is one that vcompose decodes."""
    return _DECODED_BY.get(codec, codec) in VIDEO


def is_known_audio(codec: str) -> bool:
    """Whether a codec, by ffprobe's name for it, is one that vcompose decodes."""
    return _DECODED_BY.get(codec, codec) in AUDIO
