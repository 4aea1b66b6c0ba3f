"""A buffer of the last seconds of pictures and sound of a live session, on the sender's clock."""

from __future__ import annotations

from collections import deque

import numpy as np
from PIL import Image

from emotion_qwen.media.sound import SAMPLE_RATE
from emotion_qwen.media.video import working_size
from emotion_qwen.media.voice_activity import voice_spans
from emotion_qwen.records import Clip

EARLY = 0.85  # fraction of the sampling interval after which a picture is taken; browser timers are inexact
STALE = 2.0  # seconds without a picture after which reports use sound alone


class RollingBuffer:
    """Pictures and sound of the last seconds.

    Args:
        span: seconds that are kept.
        apart: sampling interval of pictures, seconds.
        side: maximum longer side of pictures, pixels; larger ones are reduced.
        most: maximum number of pictures.
    """

    def __init__(self, span: float, apart: float, side: int, most: int) -> None:
        self.span, self.apart, self.side = span, apart, side
        self.pictures: deque[tuple[float, np.ndarray]] = deque(maxlen=most)
        self._wave = np.zeros(round(span * SAMPLE_RATE), dtype=np.float32)  # ends with the latest sample
        self._sound_span: tuple[float, float] | None = None  # seconds: start of the first and end of the last sample

    def wants_picture(self, time: float) -> bool:
        """Return whether to take a picture of that time: it is not too soon after the last one."""
        self._check_clock(time)
        return not self.pictures or time - self.pictures[-1][0] >= EARLY * self.apart

    def add_picture(self, time: float, picture: np.ndarray) -> None:
        """Add a picture, (H, W, 3) uint8; one of another size drops the earlier ones, as from another camera."""
        height, width = working_size(picture.shape[0], picture.shape[1], self.side)
        if (height, width) != picture.shape[:2]:
            picture = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
        if self.pictures and self.pictures[-1][1].shape != picture.shape:
            self.pictures.clear()
        if not self.pictures or time > self.pictures[-1][0]:
            self.pictures.append((time, picture))

    def add_sound(self, time: float, samples: np.ndarray) -> None:
        """Add samples, (S,) float32 at 16 kHz; gaps become silence.

        Args:
            time: seconds of the first sample.
            samples: at most as many as fit into the span.
        """
        self._check_clock(time)
        end = time + len(samples) / SAMPLE_RATE
        first, last = self._sound_span or (time, time)
        shift = round((end - last) * SAMPLE_RATE)
        if shift > 0:
            kept = max(len(self._wave) - shift, 0)
            self._wave[:kept] = self._wave[len(self._wave) - kept :].copy()
            self._wave[kept:] = 0
            last = end
        place = len(self._wave) - round((last - time) * SAMPLE_RATE)
        early = max(-place, 0)  # samples from before the span
        if early < len(samples):
            self._wave[place + early : place + len(samples)] = samples[early:]
        self._sound_span = (max(min(first, time), last - self.span), last)

    def _check_clock(self, time: float) -> None:
        """Clear the buffer if the sender's clock was set back."""
        if time < self.now - self.span:
            self.pictures.clear()
            self._sound_span = None
            self._wave[:] = 0

    @property
    def now(self) -> float:
        """The latest time received; 0 at the beginning."""
        return max(self.pictures[-1][0] if self.pictures else 0.0, self._sound_span[1] if self._sound_span else 0.0)

    @property
    def has_pictures(self) -> bool:
        """Whether there is a picture younger than `STALE`."""
        return bool(self.pictures) and self.pictures[-1][0] > self.now - STALE

    @property
    def sound_only(self) -> bool:
        """Whether there are `STALE` seconds of sound, and no picture younger than that."""
        span = self._sound_span
        return span is not None and not self.has_pictures and span[1] - span[0] >= STALE

    def voiced(self) -> float | None:
        """Return the fraction of the sound with voice activity; None without sound."""
        wave, _ = self._sound()
        if wave is None:
            return None
        return sum(end - start for start, end in voice_spans(wave, SAMPLE_RATE)) * SAMPLE_RATE / len(wave)

    def clip(self, *, with_sound: bool) -> Clip:
        """Return the last seconds as a clip, without pictures if the latest is stale.

        Args:
            with_sound: include the sound.
        """
        kept = [entry for entry in self.pictures if entry[0] > self.now - self.span] if self.has_pictures else []
        times = np.array([time for time, _ in kept])
        frames = np.stack([picture for _, picture in kept]) if kept else np.zeros((0, 0, 0, 3), np.uint8)
        wave, start = self._sound() if with_sound else (None, 0.0)
        lengths = [float(times[-1] - times[0]) if kept else 0.0, 0.0 if wave is None else len(wave) / SAMPLE_RATE]
        return Clip(
            frames=frames, times=times, source="live", still=len(times) == 1 and wave is None, duration=max(lengths),
            size=frames.shape[1:3], wave=wave, sample_rate=0 if wave is None else SAMPLE_RATE, wave_start=start,
        )  # fmt: skip

    def _sound(self) -> tuple[np.ndarray | None, float]:
        """Return the sound of the last seconds, or None, and the time of its first sample."""
        if self._sound_span is None or self._sound_span[1] < self.now - self.span:
            return None, 0.0
        first, last = self._sound_span
        count = min(round((last - first) * SAMPLE_RATE), len(self._wave))
        return (self._wave[len(self._wave) - count :].copy(), first) if count else (None, 0.0)
