"""Read facial actions recorded by others as expression tracks: Live Link Face, BEAT, Express4D.

The data were measured on a person, so a track made from them is personal data of that person; its provenance says so.
No file is unpickled.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from emotion_qwen.errors import DataError, SettingsError, listed, unknown_choice
from emotion_qwen.express.livelink import HEADER
from emotion_qwen.express.track import (
    CHANNELS,
    EMOTIONS,
    LARGEST_ANGLE,
    MOST_FPS,
    MOST_SECONDS,
    PLACE,
    ExpressionTrack,
    Provenance,
    check_seconds,
)
from emotion_qwen.files import files_below

RATES = (24.0, 25.0, 30.0, 50.0, 60.0, 120.0)
"""Frame rates that a timecode may count in."""
TOLERANCE = 0.05
"""How far a measured strength may be outside 0 to 1; it is clipped. Trackers overshoot slightly."""
MOST_BYTES = 256 * 2**20
"""Largest file that is read; ten minutes at 120 frames per second have less than a fifth of it."""
LONGEST_GAP = 0.5
"""Longest time without a tracked face that is bridged, seconds."""
OPTIONAL = ("tongueOut",)
"""Channels that older recordings do not have; they are 0."""
BEAT_FPS = 60.0
BEAT_EMOTIONS = (
    (64, "neutral"), (72, "happiness"), (80, "anger"), (86, "sadness"), (94, "contempt"), (102, "surprise"),
    (110, "fear"), (118, "disgust"),
)  # fmt: skip
"""Last number of a monologue in BEAT with its emotion, as the authors state it (PantoMatrix, issues 13 and 20)."""
EXPRESS4D_FPS = 60.0
"""Recordings of Express4D (Ben Baruch et al., arXiv 2508.12438) have the columns of Live Link Face at this rate."""
SUFFIXES = {"livelink": ".csv", "beat": ".json", "express4d": ".npy"}


def find_recordings(kind: str, source: Path) -> list[Path]:
    """Return the files of a kind: the source itself, or those below it, sorted.

    Raises:
        SettingsError: the kind is unknown.
        DataError: the source does not exist, or contains no such file.
    """
    if kind not in SUFFIXES:
        raise SettingsError(unknown_choice("kind of recording", kind, SUFFIXES))
    if not source.exists():
        raise DataError(f"source {str(source)!r} does not exist; give a file or folder")
    if source.is_file():
        return [source]
    paths = [path for path in files_below(source) if path.suffix.lower() == SUFFIXES[kind]]
    if not paths:
        raise DataError(f"{str(source)!r} holds no {SUFFIXES[kind]} file; expected recordings of the kind {kind!r}")
    return paths


def read_recording(kind: str, path: Path, fps: float | None = None) -> ExpressionTrack:
    """Read one recording.

    Args:
        kind: a key of `SUFFIXES`.
        path: of the file.
        fps: frame rate of the recording, if its file does not state it or states a wrong one; None uses that of the
            file or of the data set.

    Raises:
        SettingsError: the kind is unknown, or the frame rate is out of range.
        DataError: the file cannot be read, or contains something else; one line names the first fault.
    """
    if kind not in SUFFIXES:
        raise SettingsError(unknown_choice("kind of recording", kind, SUFFIXES))
    if fps is not None and not 0 < fps <= MOST_FPS:
        raise SettingsError(f"fps is {fps:g}; expected above 0, at most {MOST_FPS:g}")
    readers: dict[str, Callable[[Path, float | None], ExpressionTrack]] = {
        "livelink": _read_live_link,
        "beat": _read_beat,
        "express4d": _read_express4d,
    }
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{size / 2**20:.0f} MiB; expected at most {MOST_BYTES / 2**20:.0f} MiB, cut the recording")
        return readers[kind](path, fps)
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from error
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path.name} cannot be read ({error}); expected a recording of the kind {kind!r}") from error


def _read_live_link(path: Path, fps: float | None) -> ExpressionTrack:
    """Read the CSV of the Live Link Face app; frames without a tracked face are bridged."""
    codes: list[tuple[int, float]] = []
    rows: list[list[float] | None] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        columns = _columns(next(lines, []))
        width = max(columns.values()) + 1
        for number, line in enumerate(lines, 2):
            if len(codes) > MOST_SECONDS * MOST_FPS:
                raise DataError(f"more than {len(codes)} frames; expected at most {MOST_SECONDS:g} s")
            if not line:
                continue
            codes.append(_timecode(line[0], number))
            is_tracked = len(line) >= width and any(line[place].strip() for place in columns.values())
            rows.append(_numbers([line[place] for place in columns.values()], number) if is_tracked else None)
    if not any(row is not None for row in rows):
        raise DataError("no frame with a tracked face; expected a row of numbers per frame")
    times, rate = _times(codes, fps)
    kept = [place for place, row in enumerate(rows) if row is not None]
    gaps = np.diff(times[kept])
    if len(gaps) and gaps.max() > LONGEST_GAP:
        raise DataError(f"the face is not tracked for {gaps.max():.1f} s; cut the recording there")
    clock = np.arange(times[kept[0]], times[kept[-1]] + 0.5 / rate, 1 / rate)
    measured = np.array([rows[place] for place in kept])
    even = np.stack([np.interp(clock, times[kept], column) for column in measured.T], axis=1)
    return _track(dict(zip(columns, even.T, strict=True)), rate, "livelink", path)


def _columns(header: list[str]) -> dict[str, int]:
    """Return the index of each channel and head angle in the header of a CSV.

    Raises:
        DataError: the header is a different one.
    """
    names = [name.strip() for name in header]
    wanted = {name[0].lower() + name[1:]: name.lower() for name in HEADER[2 : 2 + len(CHANNELS) + 3]}
    lower = [name.lower() for name in names]
    missing = [name for name, text in wanted.items() if text not in lower and name in CHANNELS and name not in OPTIONAL]
    if not names or lower[0] != "timecode" or missing:
        what = f"no column {listed(missing, 3)}" if missing and names else "no header"
        raise DataError(f"{what}; expected the columns Timecode, BlendShapeCount, EyeBlinkLeft, ... of Live Link Face")
    return {name: lower.index(text) for name, text in wanted.items() if text in lower}


def _timecode(text: str, number: int) -> tuple[int, float]:
    """Return seconds, and frames since then, of a timecode such as `14:03:52:28.207`.

    Raises:
        DataError: it is none.
    """
    parts = text.replace(";", ":").split(":")
    try:
        hours, minutes, seconds = (int(part) for part in parts[:3])
        frame = float(parts[3])
    except (ValueError, IndexError):
        frame = math.nan
    if len(parts) != 4 or not 0 <= frame < MOST_FPS:
        raise DataError(f"line {number}: timecode {text!r}; expected hours:minutes:seconds:frames as 14:03:52:28.207")
    return 3600 * hours + 60 * minutes + seconds, frame


def _times(codes: list[tuple[int, float]], fps: float | None) -> tuple[np.ndarray, float]:
    """Return the time of each frame (T,) in seconds from the first, and the frame rate.

    A timecode counts frames within a second; their number per second is the smallest usual rate above all counts.

    Raises:
        DataError: the times do not ascend.
    """
    seconds, frames = (np.array(part, float) for part in zip(*codes, strict=True))
    base = fps or next(rate for rate in RATES if rate > np.floor(frames.max()) or rate == RATES[-1])
    times = seconds + frames / base
    times += 86_400 * np.cumsum(np.diff(times, prepend=times[0]) < -43_200)  # past midnight
    times -= times[0]
    steps = np.diff(times)
    if (steps <= 0).any():
        number = int(np.argmax(steps <= 0)) + 3
        raise DataError(f"line {number}: the timecode does not ascend; give --fps if frames are counted otherwise")
    if fps is not None or not len(steps):
        return times, base
    rate = 1 / float(np.median(steps))
    return times, min(RATES, key=lambda usual: abs(usual - rate)) if rate > RATES[0] / 2 else rate


def _read_beat(path: Path, fps: float | None) -> ExpressionTrack:
    """Read a facial JSON of BEAT: names, and frames with weights and times."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    names, frames = (stored.get("names"), stored.get("frames")) if isinstance(stored, dict) else (None, None)
    if not isinstance(names, list) or not isinstance(frames, list) or not frames:
        raise DataError('expected BEAT\'s JSON: {"names": [...], "frames": [{"weights": [...], "time": ...}, ...]}')
    places = {str(name)[:1].lower() + str(name)[1:]: place for place, name in enumerate(names)}
    missing = [name for name in CHANNELS if name not in places and name not in OPTIONAL]
    if missing:
        raise DataError(f"no channel {listed(missing, 3)}; expected ARKit's names")
    rows, times = [], []
    for number, frame in enumerate(frames):
        weights = frame.get("weights") if isinstance(frame, dict) else None
        if not isinstance(weights, list) or len(weights) != len(names):
            raise DataError(f"frame {number} has not {len(names)} weights, one per name")
        rows.append(_numbers(weights, number, "frame"))
        times.append(frame.get("time", number / BEAT_FPS))
    measured, clock = np.array(rows), np.array(_numbers(times, 0, "frame"))
    if (np.diff(clock) <= 0).any():
        raise DataError(f"frame {int(np.argmax(np.diff(clock) <= 0)) + 1}: the time does not ascend")
    rate = fps or BEAT_FPS
    even = np.arange(clock[0], clock[-1] + 0.5 / rate, 1 / rate)
    columns = {name: np.interp(even, clock, measured[:, place]) for name, place in places.items() if name in PLACE}
    return _track(columns, rate, "beat", path, beat_emotion(path.stem))


def beat_emotion(stem: str) -> str:
    """Return the emotion of a BEAT recording by its name, such as `1_wayne_0_73_73`; empty where it has none of ours.

    The third part is the kind of recording, even for monologues, and the fourth its first number.
    """
    parts = stem.split("_")
    if len(parts) < 5 or not (parts[2].isdigit() and parts[3].isdigit()) or int(parts[2]) % 2:
        return ""
    name = next((name for last, name in BEAT_EMOTIONS if int(parts[3]) <= last), "")
    return name if name in EMOTIONS else ""


def _read_express4d(path: Path, fps: float | None) -> ExpressionTrack:
    """Read an array (T, 61) of Express4D, without unpickling; its columns are those of Live Link Face."""
    values = np.load(path, allow_pickle=False)
    width = len(HEADER) - 2
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.shape[1] != width or values.dtype.kind != "f":
        shape = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise DataError(f"holds {shape}; expected floating-point numbers of the shape (frames, {width})")
    names = (*CHANNELS, "headYaw", "headPitch", "headRoll")
    return _track(dict(zip(names, values.T.astype(float), strict=False)), fps or EXPRESS4D_FPS, "express4d", path)


def _numbers(values: list, number: int, place: str = "line") -> list[float]:
    """Return finite numbers.

    Raises:
        DataError: a value is none.
    """
    numbers = []
    for value in values:
        try:
            numbers.append(float(value))
        except (TypeError, ValueError):
            numbers.append(math.nan)
        if not math.isfinite(numbers[-1]):
            raise DataError(f"{place} {number}: {value!r} is not a finite number")
    return numbers


def _track(columns: dict[str, np.ndarray], fps: float, source: str, path: Path, emotion: str = "") -> ExpressionTrack:
    """Return a track of measured columns, each (T,); angles in radians.

    Raises:
        DataError: a strength is far outside 0 to 1, an angle above 90 degrees, or the length is out of range.
    """
    count = len(next(iter(columns.values())))
    check_seconds(count / fps)
    frames, head = np.zeros((count, len(CHANNELS))), np.zeros((count, 3))
    for name, values in columns.items():
        if not np.isfinite(values).all():
            raise DataError(f"{name} in frame {int(np.argmin(np.isfinite(values)))} is not a finite number")
        if name in PLACE:
            wrong = (values < -TOLERANCE) | (values > 1 + TOLERANCE)
            if wrong.any():
                row = int(np.argmax(wrong))
                raise DataError(f"{name} is {values[row]:g} in frame {row}; expected 0 to 1")
            frames[:, PLACE[name]] = values.clip(0, 1)
        else:
            angles = np.degrees(values)
            if np.abs(angles).max() > LARGEST_ANGLE:
                raise DataError(
                    f"{name} reaches {np.abs(angles).max():.0f} degrees; expected radians, at most 90 degrees"
                )
            head[:, ("headYaw", "headPitch", "headRoll").index(name)] = angles
    curve = np.zeros((count, len(EMOTIONS)))
    if emotion:
        curve[:, EMOTIONS.index(emotion)] = 1.0
    details = {"file": path.name, "measured_on_a_person": True, "emotion": emotion or None}
    return ExpressionTrack(fps, frames, head, curve, Provenance(source=source, details=details))


def import_recordings(
    kind: str, source: Path, fps: float | None = None
) -> Iterator[tuple[Path, ExpressionTrack | str]]:
    """Yield each file of a source with its track, or with a line that states why it is refused.

    Raises:
        SettingsError: the kind is unknown, or the frame rate is out of range.
        DataError: the source does not exist or contains no file of the kind.
    """
    for path in find_recordings(kind, source):
        try:
            yield path, read_recording(kind, path, fps)
        except DataError as error:
            yield path, str(error)
