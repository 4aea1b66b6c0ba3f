"""Recordings of facial actions as sequences that motion is learned from, each with the emotion of every frame."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from emotion_qwen.errors import DataError, EmotionQwenError, SettingsError, listed, unknown_choice
from emotion_qwen.express.generator.learned import NEUTRAL, shares_and_intensity
from emotion_qwen.express.importers import SUFFIXES, import_recordings
from emotion_qwen.express.motion_model import MotionConfig
from emotion_qwen.express.motion_model.configuration import MOVING
from emotion_qwen.express.motion_model.learned import at_rate
from emotion_qwen.express.motion_model.modeling import Surroundings
from emotion_qwen.express.prototypes import emotion_weights, parse_shares
from emotion_qwen.express.track import CHANNELS, ExpressionTrack, read_track
from emotion_qwen.files import files_below

TRACK = "track"
"""The kind of tracks that `emotion-qwen express` wrote, imported ones above all."""
KINDS = (*SUFFIXES, TRACK)
LEAST_FRAMES = 32
"""Shortest recording, in frames of the model."""
LEAST_DEVIATION = 0.005
"""Deviation, as a share of a channel's range, below which it does not move in the recordings."""
REST_SHARE = 10
"""Percentile of a facial action in neutral frames that counts as its rest."""


@dataclass(frozen=True, eq=False)
class MotionSequence:
    """A recording at the frame rate of the model.

    Attributes:
        name: of the file.
        frames: (T, 55) of `MOVING`; the head's angles are relative to their mean, which says where the camera was.
        shares: (T, 7) of the emotions, in sum 1.
        intensity: (T,) 0 to 1.5.
    """

    name: str
    frames: np.ndarray
    shares: np.ndarray
    intensity: np.ndarray


@dataclass(frozen=True)
class EmotionNames:
    """What says which emotion a recording shows; without either, the recording itself must.

    Attributes:
        table: name of a file, with or without suffix and folders, to its emotion, such as "anger" or "sadness:0.6".
        pattern: regular expression with a group `emotion`, searched in the names that the table does not have.
    """

    table: Mapping[str, np.ndarray] = field(default_factory=dict)
    pattern: str = ""

    def weights_of(self, path: Path, place: Path) -> np.ndarray | None:
        """Return the strengths (7,) of a recording; None if nothing is said about it.

        Args:
            path: of the recording.
            place: the same, relative to the folder of the recordings.

        Raises:
            SettingsError: the pattern finds a word that is no emotion.
        """
        for name in (place.as_posix(), place.with_suffix("").as_posix(), path.name, path.stem):
            if name in self.table:
                return self.table[name]
        match = re.search(self.pattern, place.as_posix()) if self.pattern else None
        if match is None or match.group("emotion") is None:
            return None
        return emotion_weights(parse_shares(match.group("emotion")))


def emotion_names(table: Path | None, column: str = "emotion", pattern: str = "") -> EmotionNames:
    """Read a table of emotions, and check a pattern.

    Args:
        table: CSV with the columns `file` and that of the emotion, and `intensity` (0 to 1.5) if wanted; or None.
        column: with the emotions.
        pattern: see `EmotionNames`.

    Raises:
        DataError: the table cannot be read, or lacks a column.
        SettingsError: an emotion is unknown, or the pattern is no regular expression with a group `emotion`.
    """
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise SettingsError(f"--pattern {pattern!r}: {error}; expected a regular expression") from error
    if pattern and "emotion" not in groups:
        raise SettingsError(f"--pattern {pattern!r} has no group (?P<emotion>...); name what is the emotion")
    weights: dict[str, np.ndarray] = {}
    if table is None:
        return EmotionNames(weights, pattern)
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{str(table)!r} cannot be read ({error}); expected a CSV with file and {column}") from error
    for number, row in enumerate(rows, 2):
        if row.get("file") is None or row.get(column) is None:
            raise DataError(f"{table.name}, line {number}: no file or no {column}; expected columns file and {column}")
        try:
            strength = float(row.get("intensity") or 1.0)
            weights[row["file"]] = emotion_weights(parse_shares(row[column]), strength)
        except (SettingsError, ValueError) as error:
            raise SettingsError(f"{table.name}, line {number}: {error}") from error
    return EmotionNames(weights, pattern)


def read_sequences(
    sources: Iterable[tuple[str, Path]], names: EmotionNames, fps: float = MotionConfig.fps
) -> list[MotionSequence]:
    """Read recordings; those that cannot be used are named in one line each on standard error, and left out.

    Args:
        sources: kind, one of `KINDS`, and file or folder.
        names: which emotion a recording shows.
        fps: frames per second of the sequences.

    Raises:
        SettingsError: a kind is unknown.
        DataError: a source does not exist, or nothing in it can be used.
    """
    sequences, refused = [], 0
    for kind, source in sources:
        for path, track in _tracks(kind, source):
            try:
                if isinstance(track, str):
                    raise DataError(track)
                place = path.relative_to(source) if path != source else Path(path.name)
                sequences.append(sequence_of(track, path.name, names.weights_of(path, place), fps))
            except EmotionQwenError as error:
                text, refused = str(error), refused + 1
                print(text if text.startswith(path.name) else f"{path.name}: {text}", file=sys.stderr)
    if not sequences:
        raise DataError(f"none of {refused} recordings can be used; see above")
    return sequences


def _tracks(kind: str, source: Path) -> Iterator[tuple[Path, ExpressionTrack | str]]:
    """Yield each file of a source with its track, or with the line that says why it is refused."""
    if kind not in KINDS:
        raise SettingsError(unknown_choice("kind of recording", kind, KINDS))
    if kind != TRACK:
        yield from import_recordings(kind, source)
        return
    paths = files_below(source) if source.is_dir() else [source]
    paths = [path for path in paths if path.suffix.lower() == ".json"]
    if not paths or not source.exists():
        raise DataError(f"{str(source)!r} holds no track; expected files that `express import` wrote")
    for path in paths:
        try:
            yield path, read_track(path)
        except DataError as error:
            yield path, str(error)


def sequence_of(track: ExpressionTrack, name: str, weights: np.ndarray | None, fps: float) -> MotionSequence:
    """Return a track as a sequence.

    Args:
        track: of a recording.
        name: of its file.
        weights: (7,) strengths of the emotions; None takes the emotion curve of the track.
        fps: frames per second of the sequence.

    Raises:
        DataError: the track has no emotion, too few frames per second, or too few frames.
    """
    if weights is None and not track.emotions.any():
        raise DataError("no emotion is known; name it by --emotions or --pattern")
    even = at_rate(track, fps)
    if len(even.frames) < LEAST_FRAMES:
        raise DataError(
            f"{len(even.frames)} frames at {fps:g} per second; expected at least {LEAST_FRAMES}, "
            f"{LEAST_FRAMES / fps:.1f} s"
        )
    curve = even.emotions if weights is None else np.tile(weights, (len(even.frames), 1))
    shares, intensity = shares_and_intensity(curve)
    head = even.head - even.head.mean(axis=0)
    return MotionSequence(name, np.concatenate([even.frames, head], axis=1), shares, intensity)


def moving_channels(sequences: Sequence[MotionSequence]) -> list[str]:
    """Return the names of what moves in recordings.

    Raises:
        DataError: nothing does.
    """
    frames = np.concatenate([sequence.frames for sequence in sequences])
    scale = np.array([1.0] * len(CHANNELS) + [90.0] * (len(MOVING) - len(CHANNELS)))
    moves = frames.std(axis=0) > LEAST_DEVIATION * scale
    if not moves.any():
        raise DataError(f"nothing moves in {listed((each.name for each in sequences), 3)}; expected recorded motion")
    return [name for name, does in zip(MOVING, moves, strict=True) if does]


def correlation_time(sequences: Sequence[MotionSequence], channels: Sequence[str], fps: float) -> float:
    """Return the correlation time of a Matern process of order 3/2 that moves as fast as recordings do, seconds.

    Its speed has the deviation sqrt(3) / time, as a multiple of its own (the median of the channels counts).
    """
    columns = [MOVING.index(name) for name in channels]
    deviation = np.concatenate([each.frames for each in sequences])[:, columns].std(axis=0)
    speed = np.concatenate([np.diff(each.frames[:, columns], axis=0) * fps for each in sequences])
    ratio = np.median(deviation / np.sqrt((speed**2).mean(axis=0)).clip(1e-9))
    return float(np.clip(np.sqrt(3) * ratio, 0.05, 5.0).round(3))


def face_at_rest(sequences: Sequence[MotionSequence]) -> np.ndarray:
    """Return the face at rest (55,), as recorded: a low percentile of neutral frames, or of all if there are none."""
    neutral = [each.frames[each.shares[:, NEUTRAL] * (each.intensity < 0.1) > 0.5] for each in sequences]
    frames = np.concatenate(neutral)
    if len(frames) < LEAST_FRAMES:
        frames = np.concatenate([each.frames for each in sequences])
    rest = np.percentile(frames, REST_SHARE, axis=0)
    rest[len(CHANNELS) :] = 0.0
    return rest


@dataclass(frozen=True)
class WindowBatch:
    """Windows of recordings.

    Attributes:
        frames: (B, W, channels), as multiples of the deviation from the mean.
        valid: (B, W) bool, whether the recording has the frame.
        around: what the windows would be generated for.
    """

    frames: torch.Tensor
    valid: torch.Tensor
    around: Surroundings


class WindowDrawer:
    """Draws windows from sequences.

    Args:
        sequences: longer ones are drawn from more often, in proportion to their frames.
        config: of the model.
        mean: (channels,) that is subtracted.
        deviation: (channels,) that is divided by.
    """

    def __init__(
        self, sequences: Sequence[MotionSequence], config: MotionConfig, mean: torch.Tensor, deviation: torch.Tensor
    ) -> None:
        columns = [MOVING.index(name) for name in config.channels]
        self._config = config
        self._lengths = np.array([len(sequence.frames) for sequence in sequences])
        self._sequences = [
            (
                (torch.from_numpy(sequence.frames[:, columns]).float() - mean) / deviation,
                torch.from_numpy(sequence.shares).float(),
                torch.from_numpy(sequence.intensity).float(),
            )
            for sequence in sequences
        ]

    def draw(self, size: int, random: np.random.Generator, without_past: float = 0.0) -> WindowBatch:
        """Draw windows that start anywhere but in the last frames of a sequence.

        Args:
            size: B windows.
            random: source of the draws.
            without_past: share of windows whose frames before are hidden, as at the start of a track.
        """
        chosen = random.choice(len(self._sequences), size, p=self._lengths / self._lengths.sum())
        starts = [int(random.integers(0, self._lengths[row] - LEAST_FRAMES + 1)) for row in chosen]
        hidden = random.random(size) < without_past
        before, window = self._config.context, self._config.window
        parts: list[list[torch.Tensor]] = []
        for row, start, alone in zip(chosen, starts, hidden, strict=True):
            frames, shares, intensity = self._sequences[row]
            places = torch.arange(start - before, start + window)
            here = (places >= (start if alone else 0)) & (places < len(frames))
            places = places.clamp(0, len(frames) - 1)
            parts.append([frames[places] * here[:, None], here, shares[places], intensity[places]])
        every, exists, shares, intensity = (torch.stack(part) for part in zip(*parts, strict=True))
        around = Surroundings(shares, intensity, every[:, :before], exists[:, :before])
        return WindowBatch(every[:, before:], exists[:, before:], around)
