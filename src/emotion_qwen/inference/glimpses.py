"""What a clip offers at one time after another, by channel, and the views that a model is asked about.

A glimpse is a moment: what is seen then (a person's crop, or the whole frame), what is heard around it, what is said,
and the context. Every crop of every person is a glimpse. Where nobody is seen for longer than `APART`, glimpses without
a person are set `APART` from each other, so that sound and words count there, too. A clip without any face shows whole
frames; where there is a face at all, frames without it show nobody who feels, and only sound and words are taken.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emotion_qwen.media.subtitles import within
from emotion_qwen.prepare import PreparedClip
from emotion_qwen.processing.chat import TOLD
from emotion_qwen.records import Clip

AROUND = 1.0  # seconds of sound and words before and after a glimpse
APART = 1.0  # seconds
SILENT = 1e-4  # root mean square of a wave; -80 dB of full scale
Part = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Glimpse:
    """One moment of a clip.

    Attributes:
        time: seconds.
        person: number of the person that is seen; None if nobody is.
        picture: message part of what is seen; None if nothing is.
        wave: (S,) float32 at 16 kHz of what is heard; None in silence.
        words: what is said; "" where nothing is.
        context: what is known of the situation.
    """

    time: float
    person: int | None
    picture: Part | None
    wave: np.ndarray | None
    words: str
    context: str

    @property
    def channels(self) -> frozenset[str]:
        """The channels of `records.CHANNELS` that the glimpse has."""
        held = {"picture": self.picture is not None, "sound": self.wave is not None}
        held |= {"words": bool(self.words), "context": bool(self.context)}
        return frozenset(name for name, present in held.items() if present)

    def view(self, channels: Collection[str], language: str) -> list[Part] | None:
        """Return the message parts of those channels that the glimpse has; None if it has none of them.

        The order is fixed: picture, sound, words, context.
        """
        if not self.channels & set(channels):
            return None
        parts: list[Part] = []
        if "picture" in channels and self.picture is not None:
            parts.append(self.picture)
        if "sound" in channels and self.wave is not None:
            parts.append({"type": "audio", "audio": self.wave})
        for name, text in (("words", self.words), ("context", self.context)):
            if name in channels and text:
                parts.append({"type": "text", "text": TOLD[name][language].format(text=text)})
        return parts


def glimpses(prepared: PreparedClip, context: str = "", *, hears: bool = True) -> list[Glimpse]:
    """Find the glimpses of a clip, in order of time within each person, those without a person last.

    Args:
        prepared: the clip and its people.
        context: what the user says of the situation; "" is nothing.
        hears: whether the model can hear; if not, sound is left out.
    """
    clip, context = prepared.clip, context.strip()
    found = [
        Glimpse(float(time), person.track.person, {"type": "image", "image": crop}, None, "", context)
        for person in prepared.people
        for time, crop in zip(person.times, person.crops, strict=True)
    ]
    seen = np.array([one.time for one in found])
    for time in _grid(clip):
        if not len(seen) or np.abs(seen - time).min() > APART:
            picture = None if len(seen) else _frame(prepared, time)
            found.append(Glimpse(time, None, picture, None, "", context))
    told = [_with_channels(one, clip, hears) for one in found]
    return [one for one in told if one.channels]


def whole(prepared: PreparedClip, context: str = "", *, hears: bool = True) -> Glimpse:
    """Return the whole clip at once: all its frames, all that is heard and all that is said."""
    clip = prepared.clip
    said = " ".join(utterance.text for utterance in clip.utterances)
    wave = sound_between(clip, -np.inf, np.inf) if hears else None
    return Glimpse(0.0, None, prepared.part, wave, said, context.strip())


def _with_channels(one: Glimpse, clip: Clip, hears: bool) -> Glimpse:
    start, end = (one.time - AROUND, one.time + AROUND) if len(_grid(clip)) > 1 else (-np.inf, np.inf)
    said = " ".join(utterance.text for utterance in clip.utterances if _touches(utterance, start, end))
    wave = sound_between(clip, start, end) if hears else None
    return Glimpse(one.time, one.person, one.picture, wave, said, one.context)


def _touches(utterance: Any, start: float, end: float) -> bool:
    return bool(within((utterance,), start, end)) or utterance.start == utterance.end


def sound_between(clip: Clip, start: float, end: float) -> np.ndarray | None:
    """Return the wave from `start` to `end` seconds, moved inwards at the clip's ends; None if it is silent."""
    if clip.wave is None or not len(clip.wave):
        return None
    rate, total = clip.sample_rate, len(clip.wave)
    if np.isfinite(start):
        length = min(round((end - start) * rate), total)
        first = min(max(round((start - clip.wave_start) * rate), 0), total - length)
        piece = clip.wave[first : first + length]
    else:
        piece = clip.wave
    return piece if float(np.sqrt(np.mean(np.square(piece, dtype=np.float64)))) > SILENT else None


def span(clip: Clip) -> tuple[float, float]:
    """Return from when to when there is something to see or to hear, seconds."""
    ends = [float(clip.times[0]), float(clip.times[-1])] if len(clip.times) else []
    if clip.wave is not None and clip.sample_rate:
        ends += [clip.wave_start, clip.wave_start + len(clip.wave) / clip.sample_rate]
    return min(ends, default=0.0), max(ends, default=0.0)


def _grid(clip: Clip) -> Sequence[float]:
    """Return the times at which a clip is looked at where nobody is seen: one for a picture or a short sound."""
    start, end = span(clip)
    if clip.still:
        return [0.0]
    if end - start <= 2 * AROUND:
        return [(start + end) / 2]
    count = max(round((end - start - 2 * AROUND) / APART), 1)
    return np.linspace(start + AROUND, end - AROUND, count + 1).tolist()


def _frame(prepared: PreparedClip, time: float) -> Part | None:
    """Return the whole frame nearest in time, captured; None for sound alone."""
    shown = prepared.shown
    if not len(shown.frames):
        return None
    return {"type": "image", "image": shown.frames[int(np.abs(shown.times - time).argmin())]}
