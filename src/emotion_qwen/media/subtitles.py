"""Words on the clip's clock: subtitle files, transcripts, and the subtitle tracks inside a video."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import av.container
import av.error
import av.stream
import av.subtitles.stream

from emotion_qwen.errors import MediaError, printable
from emotion_qwen.media.captions import to_utterances
from emotion_qwen.media.container import open_video
from emotion_qwen.media.subtitle_formats import Caption, ass_lines, markup_lines, read_cues
from emotion_qwen.media.text import guess_encoding, read_text
from emotion_qwen.records import Utterance

SUBTITLE_SUFFIXES = (".srt", ".vtt", ".ass", ".ssa")
_EXPECTED = f"expected subtitles ({' '.join(SUBTITLE_SUFFIXES)}) or a transcript (.txt)"
_FIRST_LANGUAGES = {"": 0, "en": 1, "zh": 2}
_TEXT_TRACKS = frozenset(("srt", "subrip", "text", "webvtt", "ass", "ssa", "mov_text"))  # FFmpeg's names
_NAME_PARTS = r"(?:\.([a-z]{2}(?:[-_][A-Za-z\d]{2,8})*|eng|zho|chi))?((?:\.(?:auto|cc|default|forced|sdh))*)"


@dataclass(frozen=True)
class Words:
    """The words of a clip.

    Attributes:
        utterances: ascending by start; they may overlap. Each has words and lasts.
        warnings: what was wrong and could be mended, and what was guessed.
        source: where the words were read.
        language: as the file or its name calls it; "" if unknown.
    """

    utterances: tuple[Utterance, ...]
    warnings: tuple[str, ...]
    source: str
    language: str


def read_subtitles(path: str | Path, *, duration: float = math.inf, encoding: str | None = None) -> Words:
    """Read a subtitle file or a transcript; the content decides which, not the suffix.

    Lines of a cue become one. Markup, drawings and comments are left out, and so are cues without a letter or digit or
    that say only "nan". Equal cues are kept once. A cue that does not end after its start lasts until the next later
    start, at most 5 s. A cue that begins before 0 begins at 0, or is left out if it ends there.

    Rolling captions show again what the cue before showed. If two cues or more, and over half of those that follow
    closely on another, begin with its last lines, and one of them adds a line, such lines are taken out.

    A transcript is timed if its first line begins with a stamp in brackets (`[mm:ss]`, `[hh:mm:ss.mmm]`, or a span
    `[mm:ss --> mm:ss]`), or if it begins with a bare stamp and another line too. What a stamp opens ends where the next
    begins; a line without stamp continues it. Other transcripts are one utterance over the whole clip.

    Bytes are read as their mark says, else as UTF-8, else by the likeliest encoding (`guess_encoding`). What is neither
    marked nor UTF-8 is named.

    Args:
        path: the file.
        duration: seconds of the clip, where a transcript ends; infinite if not known.
        encoding: of the file; None finds out.

    Raises:
        MediaError: the file is missing, a folder, not readable, too large, not text, empty, in no known encoding, or
            has no cue.
    """
    path = Path(path)
    text, warnings = read_text(path, _EXPECTED, encoding)
    cues, broken = read_cues(text, path.suffix.lower(), duration)
    if not cues:
        seen = f"time {broken[0]!r} cannot be read" if broken else f"it begins with {text[:40].splitlines()[0]!r}"
        raise MediaError(f"{str(path)!r} has no cue ({seen}); {_EXPECTED}, give words without times as .txt")
    if broken:
        total = len(cues) + len(broken)
        warnings.append(f"{len(broken)} of {total} cues are left out: their times cannot be read ({broken[0]!r})")
    head = re.split(r"\n\n|\n.*-->", text, maxsplit=1)[0] if text.startswith(("WEBVTT", "[")) else ""
    named = re.search(r"^Language:[ \t]*(\S+)", head, re.MULTILINE) or re.search(f"{_NAME_PARTS}$", path.stem)
    return _words(cues, warnings, printable(path), (named and named[1]) or "")


def read_container_subtitles(path: str | Path, *, origin: float, track: int | None = None) -> Words | None:
    """Read a text subtitle track inside a video, by the rules of `read_subtitles`.

    Args:
        path: a Matroska, WebM, MP4 or MOV file.
        origin: seconds on the container's clock at which the clip's first picture is shown; they become 0.
        track: which of the subtitle tracks, from 0. If None, the first text track marked as default, else the first.

    Returns:
        None if there is no subtitle track. If no track is text, no utterances and a warning for each.

    Raises:
        MediaError: the video cannot be opened, or the track that was asked for does not exist or is not text.
    """
    path = Path(path)
    warnings: list[str] = []
    with open_video(path) as (container, _):
        streams = container.streams.subtitles
        number = _choose_track(str(path), streams, track, warnings)
        if number is None:
            return Words((), tuple(warnings), printable(path), "") if streams else None
        cues = _read_packets(container, streams[number], origin, warnings)
        language = _language(streams[number])
    return _words(cues, warnings, f"{printable(path)}, subtitle track {number}", language)


def find_subtitles(path: str | Path) -> Path | None:
    """Find the subtitles beside a clip: its name, then perhaps a language and kinds, then a subtitle suffix.

    For `clip.mp4` these are `clip.srt`, `clip.mp4.srt`, `clip.en.srt`, `clip.zh-Hans.vtt`, `clip.en.sdh.srt` and the
    like. "Forced" ones (foreign passages only) go last. Of several others, the order is: no language, English, Chinese,
    others by alphabet; fewer kinds; .srt, .vtt, .ass, .ssa. A `.txt` may be anything and is not looked for, and
    `clip.2.srt` belongs to `clip.2.mp4`.

    Raises:
        MediaError: the folder may not be read.
    """
    path = Path(path)
    candidates = []
    try:
        files = [file for file in path.parent.iterdir() if file.is_file()] if path.parent.is_dir() else []
    except OSError as error:
        raise MediaError(f"{str(path.parent)!r} cannot be read ({error.strerror}); check its permissions") from error
    for file in files:
        suffix = file.suffix.lower()
        if suffix in SUBTITLE_SUFFIXES and file.name.startswith(f"{path.stem}."):
            between = file.name[len(path.stem) : -len(suffix)].removeprefix(path.suffix)
            if parts := re.fullmatch(_NAME_PARTS, between):
                language, kinds = parts[1] or "", parts[2]
                rank = _FIRST_LANGUAGES.get(language[:2].replace("ch", "zh"), len(_FIRST_LANGUAGES))
                place = SUBTITLE_SUFFIXES.index(suffix)
                candidates.append((("forced" in kinds, rank, language, kinds.count("."), place, file.name), file))
    return min(candidates)[1] if candidates else None


def within(utterances: Iterable[Utterance], start: float, end: float) -> tuple[Utterance, ...]:
    """Give the utterances that overlap a span, whole: which of their words fall into it is not known.

    Args:
        utterances: on the clip's clock.
        start: seconds; what ends here or before is left out.
        end: seconds; what begins here or later is left out.
    """
    return tuple(utterance for utterance in utterances if utterance.start < end and utterance.end > start)


def _language(stream: av.subtitles.stream.SubtitleStream) -> str:
    name = stream.metadata.get("language", "")
    return "" if name == "und" else name


def _choose_track(
    place: str, streams: tuple[av.subtitles.stream.SubtitleStream, ...], track: int | None, warnings: list[str]
) -> int | None:
    kinds = [stream.codec_context.name if stream.codec_context else "unknown" for stream in streams]
    texts = [number for number, kind in enumerate(kinds) if kind in _TEXT_TRACKS]
    listing = ", ".join(f"{number}: {_language(streams[number]) or '?'} {kinds[number]}" for number in texts) or "none"
    if track is not None:
        if not 0 <= track < len(streams):
            raise MediaError(f"{place!r} has {len(streams)} subtitle tracks, not {track}; text tracks: {listing}")
        if track not in texts:
            raise MediaError(f"{place!r}: subtitle track {track} ({kinds[track]}) is not text; text tracks: {listing}")
        return track
    for number, kind in enumerate(kinds):
        if number not in texts:
            warnings.append(f"subtitle track {number} ({kind}) holds pictures or is of no known kind; it is ignored")
    marked = [number for number in texts if streams[number].disposition & av.stream.Disposition.default]
    chosen = next(iter(marked or texts), None)
    if len(texts) > 1:
        warnings.append(f"{len(texts)} text subtitle tracks ({listing}); track {chosen} is read")
    return chosen


def _read_packets(
    container: av.container.InputContainer,
    stream: av.subtitles.stream.SubtitleStream,
    origin: float,
    warnings: list[str],
) -> list[Caption]:
    kind, unit = stream.codec_context.name, float(stream.time_base or 0)
    packets: list[tuple[float, float, bytes]] = []
    try:
        for packet in container.demux(stream):
            data = bytes(packet)
            if kind == "mov_text":  # a length, the text, then styles; an empty text is a pause (3GPP TS 26.245)
                data = data[2 : 2 + int.from_bytes(data[:2], "big")]
            elif kind in ("ass", "ssa"):  # an event's fields without its times, the text last
                data = data.split(b",", 8)[-1]
            if data and packet.pts is not None:
                start = packet.pts * unit - origin
                packets.append((round(start, 6), round(start + (packet.duration or 0) * unit, 6), data))
    except av.error.FFmpegError as error:
        warnings.append(f"the subtitle track breaks off after {len(packets)} cues ({error.strerror}); the rest is lost")
    encoding, note = guess_encoding(b"\n".join(data for _, _, data in packets))
    if not encoding:
        warnings.append("the subtitle track is in no encoding that can be told; its words are left out")
        return []
    warnings.extend([note] if note else [])
    lines = ass_lines if kind in ("ass", "ssa") else markup_lines
    return [Caption(start, end, lines(data.decode(encoding, "replace"))) for start, end, data in packets]


def _words(cues: list[Caption], warnings: list[str], source: str, language: str) -> Words:
    utterances = to_utterances(cues, warnings)  # adds to the warnings
    return Words(utterances, tuple(warnings), source, language)
