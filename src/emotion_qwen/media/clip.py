"""Read a path as a clip with its sound and words, and expand the paths that a user gives into a list of files."""

from __future__ import annotations

import glob
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from emotion_qwen.errors import MediaError, printable
from emotion_qwen.files import files_below
from emotion_qwen.media.animation import read_animation
from emotion_qwen.media.container import NoPicture, check_readable
from emotion_qwen.media.level import settled
from emotion_qwen.media.picture import is_animation, is_picture, read_picture
from emotion_qwen.media.sound import read_sound, sound_tracks
from emotion_qwen.media.speech import Recognizer
from emotion_qwen.media.subtitles import find_subtitles, read_container_subtitles, read_subtitles, within
from emotion_qwen.media.video import VideoFrames, read_video
from emotion_qwen.records import Clip, Utterance
from emotion_qwen.settings import ClipSettings

PICTURE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2"])
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".ogv", ".gif")
).union((".mpg", ".mpeg", ".ts", ".mts", ".m2ts"))
SOUND_SUFFIXES = frozenset([".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".wma", ".aiff", ".aif"])
MEDIA_SUFFIXES = PICTURE_SUFFIXES | VIDEO_SUFFIXES


@dataclass(frozen=True)
class Sources:
    """Sources read in addition to the pictures of a clip.

    Attributes:
        sound: read the sound, from the clip's own track or from `audio`. A sound file is then accepted as a clip.
        words: read the words from `transcript`, else from a subtitle file next to the clip, else from a track inside
        it.
        audio: a sound file that replaces the clip's own track; its first sample is at the clip's zero.
        audio_track: index of the sound track, from 0; None is the file's default.
        transcript: a subtitle file, or text without times.
        subtitle_track: index of the subtitle track, from 0; None is the file's default.
        recognizer: recognises the words in the sound and replaces all other words; the sound is then always read.
        encoding: of the transcript or the subtitle file; None detects it.
    """

    sound: bool = False
    words: bool = False
    audio: Path | None = None
    audio_track: int | None = None
    transcript: Path | None = None
    subtitle_track: int | None = None
    recognizer: Recognizer | None = None
    encoding: str | None = None

    @property
    def listens(self) -> bool:
        """Whether sound is read."""
        return self.sound or self.recognizer is not None


PICTURES_ONLY = Sources()


def read_clip(
    path: str | Path,
    settings: ClipSettings,
    *,
    start: float | None = None,
    end: float | None = None,
    sources: Sources = PICTURES_ONLY,
) -> Clip:
    """Read a picture, a video or a sound file; its kind is detected from the content, not from the name.

    Args:
        path: the file. An animated picture is read as a video.
        settings: frame budget and working side.
        start: seconds from the first frame of a video, or from the first sample of a sound.
        end: seconds; frames and sound from this time on are omitted.
        sources: what is read in addition to the pictures.

    Raises:
        MediaError: a file cannot be read, `start` or `end` is given for a picture, or `path` is a sound file and
            `sources` does not include sound.
    """
    path = Path(path)
    try:
        clip = _read_pictures(path, settings, start, end)
    except NoPicture:
        if not sources.listens:
            raise
        clip = Clip(np.zeros((0, 0, 0, 3), np.uint8), np.zeros(0), printable(path))
    if sources.listens:
        clip = _with_sound(clip, path, start, end, sources)
    if sources.recognizer is not None:
        return _with_speech(clip, sources.recognizer)
    return _with_words(clip, path, start, end, sources) if sources.words else clip


@dataclass(frozen=True)
class StoredFrames:
    """Every frame of an animated picture, or a picture; see `VideoFrames`."""

    clip: Clip

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.clip.frames)

    @property
    def rate(self) -> float:
        """Frames per second; 1 for a single frame."""
        return self.clip.fps or 1.0

    def parts(self, at_once: int) -> Iterator[tuple[np.ndarray, Clip]]:
        """Yield the frames in order, as `VideoFrames.parts` does."""
        for first in range(0, self.count, at_once):
            part = slice(first, first + at_once)
            numbers = np.arange(self.count)[part]
            yield numbers, replace(self.clip, frames=self.clip.frames[part], times=self.clip.times[part])


def every_frame(
    path: Path, side: int, *, start: float | None = None, end: float | None = None
) -> VideoFrames | StoredFrames:
    """Open a file to read all its frames, a few at once.

    Args:
        path: a video or a picture.
        side: longer side to which frames are reduced, pixels.
        start: as in `read_clip`, and `end` likewise.

    Raises:
        MediaError: as from `read_clip`; a sound has no frames.
    """
    if is_picture(path):
        return StoredFrames(_read_pictures(path, ClipSettings.of({"fps": math.inf, "working_side": side}), start, end))
    return VideoFrames.open(path, side, start=start, end=end)


def _with_sound(clip: Clip, path: Path, start: float | None, end: float | None, sources: Sources) -> Clip:
    """Add the sound of `sources.audio`, or else of the clip's own track if it has one."""
    from_clip = sources.audio is None
    if from_clip and (clip.still or (len(clip.frames) and not sound_tracks(path))):
        return clip
    alone = not len(clip.frames)
    try:
        sound = read_sound(
            sources.audio or path, origin=clip.origin if from_clip and not alone else None, start=start, end=end,
            track=sources.audio_track,
        )  # fmt: skip
    except MediaError as error:
        if alone or not from_clip or sources.audio_track is not None:
            raise
        return replace(clip, warnings=(*clip.warnings, f"the sound is left out: {error}"))  # optional
    if not len(sound.wave):
        return replace(clip, warnings=(*clip.warnings, *sound.warnings))
    sound = settled(sound)
    return replace(
        clip,
        wave=sound.wave,
        sample_rate=sound.sample_rate,
        wave_start=sound.start,
        duration=sound.start + sound.duration if alone else clip.duration,
        warnings=(*clip.warnings, *sound.warnings),
    )


def _with_speech(clip: Clip, recognizer: Recognizer) -> Clip:
    """Add the words recognised in the clip's sound."""
    if clip.wave is None:
        return replace(clip, warnings=(*clip.warnings, "no sound, so no words were recognised"))
    words = recognizer.words(clip.wave, clip.wave_start)
    warnings = (*clip.warnings, *words.warnings)
    return replace(clip, utterances=words.utterances, words_from=words.source, warnings=warnings)


def _with_words(clip: Clip, path: Path, start: float | None, end: float | None, sources: Sources) -> Clip:
    """Add the words of the transcript, else of a subtitle file next to the clip, else of a track inside it."""
    beside = sources.transcript or find_subtitles(path)
    length = clip.duration or math.inf
    if beside is not None:
        try:
            words = read_subtitles(beside, duration=length, encoding=sources.encoding)
        except MediaError as error:
            if sources.transcript is not None:
                raise
            return replace(clip, warnings=(*clip.warnings, f"the words are left out: {error}"))  # optional
    elif clip.still or not len(clip.frames):
        return clip
    else:
        embedded = read_container_subtitles(path, origin=clip.origin, track=sources.subtitle_track)
        if embedded is None:
            return clip
        words = embedded
    utterances = within(words.utterances, start or 0.0, math.inf if end is None else end)
    if not clip.duration:  # a picture has no time
        utterances = tuple(replace(utterance, end=utterance.start) for utterance in utterances)
        late: tuple[str, ...] = ()
    else:
        utterances, late = _ended(utterances, _last(clip))
    warnings = (*clip.warnings, *words.warnings, *late)
    return replace(clip, utterances=utterances, words_from=words.source if utterances else "", warnings=warnings)


def _last(clip: Clip) -> float:
    """Return the end of the clip in seconds: that of its pictures or of its sound, whichever is later."""
    heard = 0.0 if clip.wave is None else clip.wave_start + len(clip.wave) / clip.sample_rate
    return max(clip.duration, heard)


def _ended(utterances: tuple[Utterance, ...], last: float) -> tuple[tuple[Utterance, ...], tuple[str, ...]]:
    """Truncate utterances at the end of the clip; drop later ones, with a warning."""
    kept = tuple(replace(utterance, end=min(utterance.end, last)) for utterance in utterances if utterance.start < last)
    if len(kept) == len(utterances):
        return kept, ()
    late = len(utterances) - len(kept)
    return kept, (f"{late} of {len(utterances)} cues begin after the clip ends ({last:.2f} s) and are left out",)


def _read_pictures(path: Path, settings: ClipSettings, start: float | None, end: float | None) -> Clip:
    check_readable(path)
    if not is_picture(path):
        return read_video(path, settings, start=start, end=end)
    if is_animation(path):
        return read_animation(path, settings, start=start, end=end)
    if start is not None or end is not None:
        raise MediaError(f"{str(path)!r} is a picture; start and end apply to videos only, leave them out")
    return read_picture(path, settings)


def find_media(paths: Sequence[str], *, sounds: bool = False) -> list[Path]:
    """Expand paths, folders and patterns into a list of files, in order and without duplicates.

    Args:
        paths: a file is included whatever its suffix. A folder means all files below it with a known media suffix,
            sorted. A pattern (`*`, `?`, `[...]`, `**`) means its matches, sorted.
        sounds: whether folders include sound files.

    Raises:
        MediaError: a path does not exist, a folder contains no media, or a pattern matches nothing.
    """
    files: dict[Path, None] = {}
    for name in paths:
        path = Path(name)
        if not path.exists() and glob.has_magic(str(name)):
            files.update(dict.fromkeys(_matching(str(name), sounds)))
        elif path.is_dir():
            inside = _media_below(path, sounds)
            if not inside:
                raise MediaError(
                    f"folder {str(path)!r} holds no picture or video; expected files ending in "
                    f"{' '.join(sorted(MEDIA_SUFFIXES | SOUND_SUFFIXES if sounds else MEDIA_SUFFIXES))}"
                )
            files.update(dict.fromkeys(inside))
        elif path.exists():
            files[path] = None
        else:
            raise MediaError(f"{str(path)!r} does not exist; give a file, a folder or a pattern such as 'clips/*.mp4'")
    return list(files)


def _matching(pattern: str, sounds: bool) -> list[Path]:
    files: list[Path] = []
    for match in sorted(map(Path, glob.glob(pattern, recursive=True))):
        files.extend(_media_below(match, sounds) if match.is_dir() else [match])
    if not files:
        raise MediaError(f"pattern {pattern!r} matches no file; check the folder and the spelling")
    return files


def _media_below(folder: Path, sounds: bool) -> list[Path]:
    known = MEDIA_SUFFIXES | SOUND_SUFFIXES if sounds else MEDIA_SUFFIXES
    return [path for path in files_below(folder) if path.suffix.lower() in known]
