"""Split a clip into glimpses, and build the views that the model is asked about.

A glimpse is a moment of the clip: the crop of a person, the sound around that time, what is said, and the context.
Every crop of every person is a glimpse. Where nobody is seen but a voice is heard or something is said (`presence`),
glimpses without a picture are placed every `APART` seconds. Elsewhere there are none. If the question is about the
whole picture, glimpses with whole frames and all sound are used wherever nobody is seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from emotion_qwen.analysis.presence import Span, appearances, bridged, covered, is_voiced, merged, outside, whole_span
from emotion_qwen.media.subtitles import within
from emotion_qwen.prepare import PreparedClip
from emotion_qwen.questions import TOLD
from emotion_qwen.records import PEOPLE, Clip, Utterance

AROUND = 1.0  # seconds of sound and words before and after a glimpse
APART = 1.0  # seconds
WITHIN = 0.4  # smallest share of a requested span that must have sound; at a clip's ends it is half or slightly less
SILENT = 1e-4  # root mean square of a wave; -80 dB of full scale
Part = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Glimpse:
    """One moment of a clip.

    Attributes:
        time: seconds.
        person: number of the visible person; None if there is none.
        picture: message part with the picture; None if there is none.
        wave: (S,) float32 at 16 kHz, the sound around that time; None without a voice or in silence.
        utterances: what is said, in order.
        context: what is known about the situation.
        span: (start, end) in seconds that a glimpse without a person represents; None for others.
    """

    time: float
    person: int | None
    picture: Part | None
    wave: np.ndarray | None
    utterances: tuple[Utterance, ...]
    context: str
    span: Span | None = None

    @property
    def words(self) -> str:
        """What is said; "" if nothing is."""
        return " ".join(utterance.text for utterance in self.utterances)

    @property
    def channels(self) -> frozenset[str]:
        """The channels of `records.CHANNELS` that the glimpse has."""
        channels = {"picture": self.picture is not None, "sound": self.wave is not None}
        channels |= {"words": bool(self.words), "context": bool(self.context)}
        return frozenset(name for name, present in channels.items() if present)

    def view(self, channels: Collection[str], language: str) -> list[Part] | None:
        """Return the message parts of the given channels; None if the glimpse has none of them.

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


def glimpses(prepared: PreparedClip, context: str = "", *, hears: bool = True, about: str = PEOPLE) -> list[Glimpse]:
    """Return the glimpses of a clip, in order of time within each person; those without a person come last.

    Args:
        prepared: the clip and its people.
        context: what the user knows about the situation, or "". If there is nothing else, it becomes a glimpse.
        hears: whether the model has audio input; if not, sound is ignored.
        about: one of `records.ABOUT`; unless it is "people", whole frames and all sound are used where nobody is seen.
    """
    clip, context, wide = prepared.clip, context.strip(), about != PEOPLE
    moments = [
        Glimpse(float(time), person.track.person, {"type": "image", "image": crop}, None, (), context)
        for person in prepared.people
        for time, crop in zip(person.times, person.crops, strict=True)
    ]
    for alone in _without_people(prepared, hears, wide):
        for time, span in _grid(clip, *alone):
            picture = _frame(prepared, time) if wide else None
            moments.append(Glimpse(time, None, picture, None, (), context, span))
    present = [_with_channels(moment, prepared, hears, wide) for moment in moments]
    present = [moment for moment in present if moment.channels - {"context"}]
    middle = sum(whole_span(clip)) / 2
    return present or ([Glimpse(middle, None, None, None, (), context)] if context else [])


def whole(prepared: PreparedClip, context: str = "", *, hears: bool = True, about: str = PEOPLE) -> Glimpse:
    """Return the whole clip as one glimpse: all frames, all words, and the sound in which a voice is active.

    Arguments are those of `glimpses`; unless the report is about people only, all sound is used.
    """
    clip = prepared.clip
    wave = sound_between(clip, -np.inf, np.inf) if hears else None
    if wave is not None and about == PEOPLE:
        pieces = [sound_between(clip, *span) for span in prepared.voice]
        spoken = [piece for piece in pieces if piece is not None]
        wave = np.concatenate(spoken) if spoken else None
    picture = prepared.part if len(prepared.shown.frames) else None
    return Glimpse(0.0, None, picture, wave, clip.utterances, context.strip())


def _without_people(prepared: PreparedClip, hears: bool, wide: bool) -> list[Span]:
    """Return the periods without a visible person in which a voice is heard or something is said; all if `wide`."""
    clip = prepared.clip
    start, end = whole_span(clip)
    shown = bridged((span for person in prepared.people for span in appearances(clip, person.track)), start, end)
    if clip.still:
        return [] if prepared.people else [(start, end)]
    alone = outside(shown, start, end) or ([] if shown else [(start, end)])  # a single frame has no length
    if wide:
        return alone
    speech = [
        (utterance.start, utterance.end) if utterance.end > utterance.start else (start, end)
        for utterance in clip.utterances
    ]
    audible = merged([*(prepared.voice if hears else ()), *speech], APART)
    parts = [(max(a, first), min(b, last)) for a, b in alone for first, last in audible]
    return [(first, last) for first, last in parts if last > first]


def _with_channels(glimpse: Glimpse, prepared: PreparedClip, hears: bool, wide: bool) -> Glimpse:
    clip = prepared.clip
    first, last = whole_span(clip)
    brief = clip.still or last - first <= 2 * AROUND
    start, end = (-np.inf, np.inf) if brief else (glimpse.time - AROUND, glimpse.time + AROUND)
    utterances = tuple(utterance for utterance in clip.utterances if _touches(utterance, start, end))
    wave = sound_between(clip, start, end) if hears else None
    if wave is not None and not wide and not is_voiced(prepared.voice, *_heard_span(clip, start, end)):
        wave = None
    return Glimpse(glimpse.time, glimpse.person, glimpse.picture, wave, utterances, glimpse.context, glimpse.span)


def _touches(utterance: Utterance, start: float, end: float) -> bool:
    return bool(within((utterance,), start, end)) or utterance.start == utterance.end


def sound_between(clip: Clip, start: float, end: float) -> np.ndarray | None:
    """Return the wave from `start` to `end` seconds, shifted inwards at the ends of the sound.

    None if it is silent, or if less than `WITHIN` of the span has sound, as it would then be shifted too far.
    """
    if clip.wave is None or not len(clip.wave):
        return None
    sound = (clip.wave_start, clip.wave_start + len(clip.wave) / clip.sample_rate)
    if np.isfinite(start) and covered([sound], start, end) < WITHIN * (end - start):
        return None
    first, last = _samples(clip, start, end)
    piece = clip.wave[first:last]
    return piece if len(piece) and float(np.sqrt(np.mean(np.square(piece, dtype=np.float64)))) > SILENT else None


def _heard_span(clip: Clip, start: float, end: float) -> Span:
    """Return the span (start, end) in seconds of the sound that `sound_between` returns."""
    first, last = _samples(clip, start, end)
    return clip.wave_start + first / clip.sample_rate, clip.wave_start + last / clip.sample_rate


def _samples(clip: Clip, start: float, end: float) -> tuple[int, int]:
    assert clip.wave is not None  # checked by the callers
    rate, total = clip.sample_rate, len(clip.wave)
    if not np.isfinite(start):
        return 0, total
    length = min(round((end - start) * rate), total)
    first = min(max(round((start - clip.wave_start) * rate), 0), total - length)
    return first, first + length


def _grid(clip: Clip, start: float, end: float) -> Iterator[tuple[float, Span]]:
    """Return the times of the glimpses in a period without people, each with the part that it represents."""
    if clip.still:
        yield 0.0, (start, end)
        return
    inner = max(end - start - 2 * AROUND, 0.0)
    count = max(round(inner / APART), 1) + 1 if inner else 1
    times = np.linspace(start + AROUND, end - AROUND, count) if inner else np.array([(start + end) / 2])
    edges = [start, *((times[1:] + times[:-1]) / 2).tolist(), end]
    for place, time in enumerate(times.tolist()):
        yield time, (edges[place], edges[place + 1])


def _frame(prepared: PreparedClip, time: float) -> Part | None:
    """Return the captured whole frame nearest in time; None for a sound file."""
    shown = prepared.shown
    if not len(shown.frames):
        return None
    return {"type": "image", "image": shown.frames[int(np.abs(shown.times - time).argmin())]}
