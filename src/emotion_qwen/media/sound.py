"""Read the sound of a media file as one mono wave on the clip's clock, with every sample at its timestamp.

A run is sound without a gap. Each run is resampled in one piece, so that its length stays exact, and is placed by the
timestamp of its first sample. The decoder removes samples that an encoder added at the start (priming) if the file
states their number; raw AAC and AVI files do not, so their sound begins up to one codec frame late.

FFmpeg's mixing of float channels raises two equal channels by 3 dB, and a NaN sample would spread through the
resampler's filter. Channels are therefore mixed here, and FFmpeg only changes the sample rate.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import av.stream
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from emotion_qwen.errors import MediaError
from emotion_qwen.media.channels import Balance, samples_of
from emotion_qwen.media.container import SNIFF, check_head, check_readable, open_container
from emotion_qwen.media.wave import WaveWriter

SAMPLE_RATE = 16_000  # Hz
_JITTER = 0.02  # seconds; Matroska rounds timestamps to milliseconds, and a shorter gap is inaudible
_LONGEST_SILENCE = 3600.0  # seconds; a longer gap is a broken timestamp, and filling it could exhaust the memory
_LEAD = 1.0  # seconds decoded before `start`, because codecs and the resampler's filter depend on earlier samples
_TAIL = 0.05  # seconds decoded after `end`, for the resampler's filter
_FAR = 10.0  # seconds; over a shorter distance, reading is cheaper than a seek
_SEEKABLE = ("mov", "matroska")  # formats with an index; in others, a seek may land at a wrong time
_DECLARING = ("mov", "flac")  # formats whose header states the length; elsewhere FFmpeg estimates it from the file size


@dataclass(frozen=True, eq=False)
class Sound:
    """The sound of a file, or of a span of it.

    Attributes:
        wave: (S,) float32 mono. Full scale is -1..1; lossy codecs may exceed it, and nothing is clipped. A long wave is
            a memory-mapped temporary file.
        sample_rate: of `wave`, Hz.
        start: time of sample 0 on the clip's clock, seconds.
        duration: length of `wave`, seconds.
        warnings: problems that were corrected, and which track was chosen from several.
        track: index among the file's sound tracks, from 0.
        tracks: number of sound tracks in the file.
    """

    wave: np.ndarray
    sample_rate: int
    start: float
    duration: float
    warnings: tuple[str, ...]
    track: int
    tracks: int


@dataclass(frozen=True)
class SoundBytes:
    """An encoded sound in memory, for example from a table cell, and its name in messages."""

    data: bytes
    name: str

    def __str__(self) -> str:
        """Return the name; messages use it where a file has its path."""
        return self.name


def read_sound(
    path: str | Path | SoundBytes,
    *,
    origin: float | None = None,
    start: float | None = None,
    end: float | None = None,
    track: int | None = None,
) -> Sound:
    """Read the sound of a file as mono at 16 kHz, from `start` to the end of the sound or of the span.

    Args:
        path: any sound file, or video with sound, that FFmpeg reads; or its bytes.
        origin: time of the clip's zero (a video's first frame) in container seconds, pts x time base. None means the
            first sample.
        start: seconds on the clip's clock; earlier sound is omitted.
        end: seconds; sound from this time on is omitted.
        track: index among the sound tracks, from 0. None selects the default track, or the first if none is marked.

    Returns:
        The sound, with silence before its first sample and in gaps. If the sound of a video ends before `start`, the
        wave is empty and a warning is given.

    Raises:
        MediaError: the file is missing, empty, text or damaged; it has no sound, no such track, or no decoder for it;
            no sample can be decoded; the span is empty, or begins after the end of a sound file.
        StorageError: the temporary folder has no space for a long sound.
    """
    path = path if isinstance(path, SoundBytes) else Path(path)
    low, high = 0.0 if start is None else float(start), math.inf if end is None else float(end)
    if not 0 <= low < high:
        raise MediaError(f"{str(path)!r}: start {low:g} s and end {high:g} s; expected 0 <= start < end")
    with _open(path) as container:
        number, tracks, warnings = _choose_track(path, container, track)
    zero = _first_time(path, number) if origin is None else float(origin)
    placed = _place(path, number, zero, low, high)
    if placed.balance.cancelled():
        alone = placed.balance.loudest()
        placed = _place(path, number, zero, low, high, alone)
        warnings.append(f"the channels cancel each other when mixed; channel {alone + 1}, the loudest, was read")
    wave = placed.wave()
    if not len(wave):
        warnings.append(_why_empty(path, placed, behind_is_error=origin is None))
    warnings.extend(placed.faults.warnings(zero, placed.complete))
    return Sound(wave, SAMPLE_RATE, low, len(wave) / SAMPLE_RATE, tuple(warnings), number, tracks)


def _place(
    path: Path | SoundBytes, number: int, zero: float, low: float, high: float, channel: int | None = None
) -> _Placed:
    """Read a whole track with all channels mixed, or a single channel."""
    placed = _Placed(zero, low, high, _Faults(), channel)
    for time, frame in _frames(path, number, zero + low, placed.faults):
        if not placed.add(time, frame):
            break
    return placed


def sound_tracks(path: str | Path) -> int:
    """Count the sound tracks of a file without decoding it; 0 for a picture or a video without sound.

    Raises:
        MediaError: the file is missing, empty, text or damaged.
    """
    with _open(Path(path)) as container:
        return len(container.streams.audio)


@contextmanager
def _open(path: Path | SoundBytes) -> Iterator[InputContainer]:
    """Open a media file or encoded bytes, and refuse text and formats that refer to other files.

    Raises:
        MediaError: the file is missing, empty, text or damaged.
    """
    if isinstance(path, SoundBytes):
        check_head(path.name, path.data[:SNIFF])
    else:
        check_readable(path)
    try:
        container = open_container(io.BytesIO(path.data) if isinstance(path, SoundBytes) else path)
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(
            f"{str(path)!r}: not a sound or video file that FFmpeg can read ({reason}); check the file with a player"
        ) from error
    try:
        yield container
    finally:
        container.close()


def _choose_track(path: Path | SoundBytes, container: InputContainer, track: int | None) -> tuple[int, int, list[str]]:
    """Choose the requested track, else the default, else the first; return (index, number of tracks, warnings)."""
    streams = container.streams.audio
    if not streams:
        raise MediaError(
            f"{str(path)!r} ({container.format.name}) holds no sound track; give a sound file or a video with sound"
        )
    if track is not None and not 0 <= track < len(streams):
        raise MediaError(
            f"{str(path)!r}: sound track {track}; expected 0 to {len(streams) - 1}, for the file has {len(streams)}; "
            "choose one of these"
        )
    usable = [number for number, stream in enumerate(streams) if stream.codec_context is not None]
    if not usable or (track is not None and track not in usable):
        which = "any of its sound tracks" if track is None else f"sound track {track}"
        raise MediaError(f"{str(path)!r}: FFmpeg has no decoder for {which}; convert the sound to AAC or FLAC first")
    if track is not None:
        return track, len(streams), []
    default = [number for number in usable if streams[number].disposition & av.stream.Disposition.default]
    taken = (default or usable)[0]
    if len(usable) == 1:
        return taken, len(streams), []
    language = streams[taken].metadata.get("language")
    reason = "the file's default" if default else "the first"
    named = f"number {taken} ({language})" if language else f"number {taken}"
    warning = f"the file has {len(streams)} sound tracks; {named} was taken, {reason}"
    return taken, len(streams), [warning]


@dataclass
class _Faults:
    """Counts of what went wrong while a track was read."""

    frames: int = 0
    skipped: int = 0  # packets before the span that were not decoded; a seek counts as one
    lost: int = 0  # packets that cannot be decoded
    damaged: int = 0  # lost packets within the span
    gaps: int = 0  # steps in the timestamps where no packet was lost
    gap_seconds: float = 0.0
    not_finite: int = 0  # samples
    repeated: float = 0.0  # seconds
    heard: float = -math.inf  # container seconds; end of the sound read so far
    declared: float = 0.0  # container seconds; end of the track by the header
    codec: str = ""
    broken: str = ""  # why reading stopped before the end

    def nothing(self) -> str:
        """Return why there is no sample."""
        if self.broken:
            return f"its sound cannot be read ({self.broken}); fetch or record the file again"
        if not self.lost:
            return f"its sound track ({self.codec}) is empty; the file is damaged or was cut off, fetch it again"
        return (
            f"none of the {self.lost} packets of its sound track ({self.codec}) can be decoded; fetch or record the "
            "file again"
        )

    def warnings(self, zero: float, complete: bool) -> Iterator[str]:
        """Yield a sentence on everything that is missing or was corrected."""
        if self.damaged:
            yield f"packets of sound that could not be decoded, replaced by silence: {self.damaged}"
        if self.gaps:
            yield f"gaps in the sound, filled with silence: {self.gaps}, {self.gap_seconds:.2f} s in all"
        if self.not_finite:
            yield f"samples of sound that were infinite or not numbers, set to 0: {self.not_finite}"
        if self.repeated > 0.1:
            yield f"{self.repeated:.2f} s of sound carry times at which there was sound already, and were left out"
        if self.broken:
            yield f"reading the sound stopped at second {self.heard - zero:.2f}: {self.broken}"
        elif not complete and self.declared - self.heard > 0.5:
            yield (
                f"the sound ends at second {self.heard - zero:.2f} of the {self.declared - zero:.2f} it declares: the "
                "file was cut short or its end is damaged"
            )


def _first_time(path: Path | SoundBytes, number: int) -> float:
    """Decode up to the first sample and return its time in container seconds."""
    faults = _Faults()
    with _open(path) as container:
        for time, _ in _decode(container, container.streams.audio[number], -math.inf, -math.inf, faults):
            return time or 0.0
    raise MediaError(f"{str(path)!r}: {faults.nothing()}")


def _frames(
    path: Path | SoundBytes, number: int, low: float, faults: _Faults
) -> Iterator[tuple[float | None, AudioFrame]]:
    """Decode from shortly before `low`, in container seconds."""
    begin = low - _LEAD
    seeking = _seek_lands(path, number, begin)
    with _open(path) as container:
        stream = container.streams.audio[number]
        if seeking:
            container.seek(int(begin * av.time_base))
            faults.skipped += 1
        if container.format.name.startswith(_DECLARING) and stream.duration and stream.time_base:
            faults.declared = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
        yield from _decode(container, stream, begin, low, faults)


def _seek_lands(path: Path | SoundBytes, number: int, begin: float) -> bool:
    """Return whether a seek is worthwhile and lands at or before `begin`; if not, earlier packets are skipped."""
    with _open(path) as container, suppress(av.error.FFmpegError):
        stream = container.streams.audio[number]
        far = begin - (container.start_time or 0) / av.time_base > _FAR
        if not far or not container.format.name.startswith(_SEEKABLE):
            return False
        container.seek(int(begin * av.time_base))
        for packet in container.demux(stream):
            return packet.pts is not None and float(packet.pts * packet.time_base) <= begin
    return False


def _decode(
    container: InputContainer, stream: AudioStream, begin: float, low: float, faults: _Faults
) -> Iterator[tuple[float | None, AudioFrame]]:
    """Yield (container seconds, frame); packets that end before `begin` are not decoded."""
    faults.codec = stream.codec_context.name
    for other in container.streams:
        if other is not stream and hasattr(other, "discard"):  # missing in older PyAV
            other.discard = av.stream.Discard.all  # in a file with an index, pictures are then not even read
    try:
        for packet in container.demux(stream):
            time = None if packet.pts is None else float(packet.pts * packet.time_base)
            over = math.inf if time is None else time + float((packet.duration or 0) * packet.time_base)
            if over < begin:
                faults.skipped += 1
                faults.heard = max(faults.heard, over)
                continue
            try:
                frames = packet.decode()  # the last packet is empty and flushes the decoder
            except av.error.FFmpegError:
                faults.lost += 1
                # A decoder that starts mid-stream may fail on packets before the span, which does no harm.
                faults.damaged += not faults.skipped or time is None or time >= low
                continue
            for frame in frames:
                if frame.samples:
                    faults.frames += 1
                    yield frame.time, frame
    except av.error.FFmpegError as error:
        faults.broken = str(getattr(error, "strerror", None) or error)


def _why_empty(path: Path | SoundBytes, placed: _Placed, behind_is_error: bool) -> str:
    """Return a warning that the span is beyond the end of the sound; raise if that is an error or no sound exists."""
    faults = placed.faults
    if faults.broken or not (faults.frames or faults.skipped):
        raise MediaError(f"{str(path)!r}: {faults.nothing()}")
    end = max(faults.heard - placed.zero, 0)
    what = f"start {placed.low:g} s is after the end of the sound ({end:.2f} s)"
    if behind_is_error:
        raise MediaError(f"{str(path)!r}: {what}; start earlier")
    return f"{what}; this span is silent"


class _Placed:
    """Collects decoded sound, resamples it run by run, and keeps the position of each piece."""

    def __init__(self, zero: float, low: float, high: float, faults: _Faults, channel: int | None = None) -> None:
        self.zero, self.low, self.high, self.faults = zero, low, high, faults
        self.balance = Balance(channel)
        self.complete = False  # the sound continues beyond the span
        self._rate = 0  # Hz, of the current run; 0 if there is none
        self._begin, self._count = 0.0, 0  # start in container seconds, and number of samples at the original rate
        # In samples from the clip's zero: position of the next piece, and the first sample to keep.
        self._place = self._from = 0
        self._pending: list[np.ndarray] = []
        self._resampler: AudioResampler | None = None
        self._first, self._writer = round(low * SAMPLE_RATE), WaveWriter()  # start of the span, samples
        self._lost = 0  # packets lost before the current run
        self._repeating = False  # the last frame covered a time that already has sound

    def add(self, time: float | None, frame: AudioFrame) -> bool:
        """Add one frame; return whether more frames are needed."""
        rate, faults = frame.sample_rate, self.faults
        ends = self._begin + self._count / self._rate if self._rate else self.zero
        time = ends if time is None else time
        if time >= self.zero + self.high + _TAIL:
            self.complete = True
            return False
        leap = time - max(ends, self.zero + self.low)
        if leap > _LONGEST_SILENCE:
            faults.broken = f"its timestamps leap by {leap:.0f} s"
            return False
        samples, not_finite = samples_of(frame)
        wave = self.balance.mix(samples, tuple(channel.name for channel in frame.layout.channels))
        faults.not_finite += not_finite
        gap = time - ends
        if self._rate and gap < (0 if self._repeating else -_JITTER):
            repeated = min(round(-gap * rate), len(wave))
            faults.repeated += repeated / rate
            wave, gap = wave[repeated:], 0.0
            self._repeating = not len(wave)
            if self._repeating:
                return True
        lost = faults.lost != self._lost
        if self._rate and gap > _JITTER and not lost:
            faults.gaps += 1
            faults.gap_seconds += gap
        # A lost packet may be shorter than the threshold for a gap, so the timestamp after it is trusted.
        if rate != self._rate or gap > _JITTER or lost:
            self._start(ends + max(gap, 0.0) if self._rate else time, rate)
        self._count += len(wave)
        faults.heard = self._begin + self._count / rate
        self._pending.append(wave)
        if sum(map(len, self._pending)) >= rate:  # small frames are resampled together, because each call has a cost
            self._resample()
        return True

    def wave(self) -> np.ndarray:
        """Return the assembled wave from the start of the span, (S,) float32."""
        self._finish()
        last = self._first + self._writer.end
        if self.complete or last / SAMPLE_RATE > self.high:
            last = max(round(self.high * SAMPLE_RATE), self._first + 1)
        return self._writer.wave(last - self._first)

    def _start(self, time: float, rate: int) -> None:
        self._finish()
        self._begin, self._count, self._rate, self._lost = time, 0, rate, self.faults.lost
        # Silence is prepended back to a time at which samples of both rates coincide, so that the samples do not depend
        # on where reading began. The resampled silence is dropped.
        number = round((time - self.zero) * rate)
        lead = number % (rate // math.gcd(rate, SAMPLE_RATE))
        self._place = (number - lead) * SAMPLE_RATE // rate
        self._from = math.ceil(number * SAMPLE_RATE / rate)
        self._pending.append(np.zeros(lead, dtype=np.float32))
        if rate != SAMPLE_RATE:
            self._resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)

    def _finish(self) -> None:
        """End the run and flush the resampler's filter."""
        self._resample()
        if self._resampler is not None and self._count:
            self._keep(self._resampler.resample(None))
        self._resampler = None

    def _resample(self) -> None:
        if not self._pending:
            return
        frame = AudioFrame.from_ndarray(np.concatenate(self._pending)[None], format="flt", layout="mono")
        frame.sample_rate = self._rate
        self._pending.clear()
        self._keep([frame] if self._resampler is None else self._resampler.resample(frame))

    def _keep(self, frames: list[AudioFrame]) -> None:
        for frame in frames:
            unkept = max(self._from - self._place, 0)
            self._writer.write(self._place + unkept - self._first, frame.to_ndarray()[0, unkept:])
            self._place += frame.samples
