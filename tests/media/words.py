"""Subtitle files, written on the fly, and what is read of them."""

import pytest

from emotion_qwen.errors import MediaError
from emotion_qwen.media.subtitles import read_subtitles

ASS_HEAD = (
    "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname\nStyle: Default,Arial\n\n[Events]\n"
    "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
)
EXPECTED = "expected subtitles (.srt .vtt .ass .ssa) or a transcript (.txt)"


def read(folder, text, name="a.srt", encoding="utf-8", **options):
    """Write a subtitle file and read it."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return read_subtitles(path, **options)


def plain(words):
    """Give the utterances as (start, end, text)."""
    return [(one.start, one.end, one.text) for one in words.utterances]


def cue(start, end, text, number=1):
    """Write a cue of SubRip, between whole seconds."""
    return f"{number}\n00:00:{start:02},000 --> 00:00:{end:02},000\n{text}\n\n"


def refusal(folder, text, name="a.srt"):
    """Tell why a file is refused, its path as FILE."""
    with pytest.raises(MediaError) as caught:
        read(folder, text, name)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(repr(str(folder / name)), "FILE")
