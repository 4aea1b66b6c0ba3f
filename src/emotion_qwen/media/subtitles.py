"""Read words on the clip's clock from subtitle files, transcripts, and subtitle tracks inside a video."""

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
        utterances: sorted by start; they may overlap. Each has words and a positive length.
        warnings: problems that were corrected, and guesses.
        source: where the words come from.
        language: as stated in the file or its name; "" if unknown.
    """

    utterances: tuple[Utterance, ...]
    warnings: tuple[str, ...]
    source: str
    language: str


def read_subtitles(path: str | Path, *, duration: float = math.inf, encoding: str | None = None) -> Words:
    """Read a subtitle file or a transcript; the format is detected from the content, not from the suffix.

    The lines of a cue are joined. Markup, drawings and comments are removed, as are cues without a letter or digit and
    cues that only say "nan". Of equal cues, one is kept. A cue that does not end after its start is extended to the
    next later start, by at most 5 s. A cue that begins before 0 starts at 0, or is dropped if it ends by then.

    Rolling captions repeat lines of the previous cue. Repeated lines are removed if at least two cues, and more than
    half of those that closely follow another, begin with its last lines, and at least one of them adds a line.

    A transcript is timed if its first line begins with a timestamp in brackets (`[mm:ss]`, `[hh:mm:ss.mmm]`, or a span
    `[mm:ss --> mm:ss]`), or if its first line and one other begin with a bare timestamp. A timestamp without an end
    applies until the next one; a line without a timestamp continues the line before. Other transcripts are one
    utterance over the whole clip.

    The encoding is that of a byte order mark, else UTF-8, else the likeliest one (`guess_encoding`), which a warning
    names.

    Args:
        path: the file.
        duration: of the clip, seconds, where a transcript ends; infinite if unknown.
        encoding: of the file; None detects it.

    Raises:
        MediaError: the file is missing, a folder, unreadable, too large, not text, empty, in an unknown encoding, or
            contains no cue.
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
    """Read a text subtitle track of a video by the rules of `read_subtitles`.

    Args:
        path: a Matroska, WebM, MP4 or MOV file.
        origin: time of the clip's first picture on the container's clock, seconds; it becomes 0.
        track: index among the subtitle tracks, from 0. None selects the first text track marked as default, else the
            first text track.

    Returns:
        The words, or None if the video has no subtitle track. If no track is text, there are no utterances and a
            warning per track.

    Raises:
        MediaError: the video cannot be opened, or the requested track does not exist or is not text.
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
    """Find the subtitle file of a clip in the same folder: the clip's name, an optional language and kind, and a
    subtitle suffix.

    For `clip.mp4` these are `clip.srt`, `clip.mp4.srt`, `clip.en.srt`, `clip.zh-Hans.vtt`, `clip.en.sdh.srt` and the
    like. "Forced" subtitles (foreign passages only) come last. The others are ranked by language (none, English,
    Chinese, others alphabetically), then fewer kinds, then .srt, .vtt, .ass, .ssa. A `.txt` file could be anything and
    is ignored, and `clip.2.srt` belongs to `clip.2.mp4`.

    Raises:
        MediaError: there is no permission to read the folder.
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
    """Return the utterances that overlap a span, unshortened, as the times of single words are unknown.

    Args:
        utterances: on the clip's clock.
        start: seconds; utterances that end at or before it are omitted.
        end: seconds; utterances that begin at or after it are omitted.
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
            if kind == "mov_text":  # length, text, styles; an empty text is a pause (3GPP TS 26.245)
                data = data[2 : 2 + int.from_bytes(data[:2], "big")]
            elif kind in ("ass", "ssa"):  # the fields of an event without its times; the text comes last
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
    utterances = to_utterances(cues, warnings)  # appends to `warnings`
    return Words(utterances, tuple(warnings), source, language)
