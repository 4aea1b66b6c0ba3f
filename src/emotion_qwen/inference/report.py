"""From a reading to an `EmotionReport`: people, timeline, channels, cues, and how far to trust it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emotion_qwen.faces import best_box
from emotion_qwen.inference.cues import covered_views, face_cues, text_cues, voice_cues
from emotion_qwen.inference.encoding import View
from emotion_qwen.inference.glimpses import span
from emotion_qwen.inference.moments import find_episodes, smooth, windows
from emotion_qwen.inference.reading import PICTURE, Reading
from emotion_qwen.matching.statements import stated_concepts
from emotion_qwen.prepare import PersonPictures
from emotion_qwen.records import (
    CHANNELS,
    GENERATED,
    MEASURED,
    Channel,
    Cue,
    Episode,
    Moment,
    Person,
    Seen,
    Sentence,
    Uncertainty,
)
from emotion_qwen.taxonomy import CONCEPTS, LabelSet, concept

ABSTAIN_BELOW = 0.4
"""Confidence below which a report abstains, unless the user says otherwise."""
_TEXTS = {
    "en": {
        "leads": "{label} leads from {onset:.1f} s to {offset:.1f} s, most at {peak:.1f} s ({share:.0%}).",
        "disagrees": "{channel} alone says {own}, not {label}.",
        "moves": "Without {channel} {label} would have {after:.0%} instead of {before:.0%}.",
    },
    "zh": {
        "leads": "{onset:.1f} 秒至 {offset:.1f} 秒以{label}为主，{peak:.1f} 秒时最强（{share:.0%}）。",
        "disagrees": "仅凭{channel}会是{own}，而不是{label}。",
        "moves": "没有{channel}时，{label}的份额是 {after:.0%}，而不是 {before:.0%}。",
    },
}
_CHANNEL_NAMES = {
    "en": {"picture": "the picture", "sound": "the sound", "words": "the words", "context": "the context"},
    "zh": {"picture": "画面", "sound": "声音", "words": "台词", "context": "背景"},
}
SAYING = 1.5
"""How many times the share of a guess a channel's own label must have for the channel to say anything."""
TELLING_MOVE = math.log(1.25)
"""How far a channel must move the answer to be spoken of."""


@dataclass(frozen=True, eq=False)
class Outline:
    """What the likelihoods alone tell of a clip; cues and the model's own sentence come after it.

    Attributes:
        shares: (G, K) of the glimpses, with all channels.
        pooled: (K,) of the clip.
        leading: the label with the largest share.
        people: everyone seen.
        timeline: of the clip.
        episodes: of the clip.
    """

    shares: np.ndarray
    pooled: np.ndarray
    leading: int
    people: tuple[Person, ...]
    timeline: tuple[Moment, ...]
    episodes: tuple[Episode, ...]


def outline(reading: Reading) -> Outline:
    """Compose people, timeline and the clip's answer."""
    shares, pooled = reading.shares(reading.channels), reading.clip(reading.channels)
    people = tuple(describe_person(reading, person) for person in reading.prepared.people)
    moments, episodes = timeline(reading, shares, np.ones(len(reading.glimpses), dtype=bool))
    return Outline(shares, pooled, int(pooled.argmax()), people, moments, episodes)


def named(labels: LabelSet, shares: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Pair the labels with their shares."""
    return {name: float(share) for name, share in zip(labels.labels, shares, strict=True)}


def valence_arousal(distribution: Mapping[str, float]) -> tuple[float, float]:
    """Return the expected valence and arousal, each -1..1, of a distribution; see `taxonomy.COORDINATES_SOURCE`.

    Raises:
        SettingsError: a label is no known emotion.
    """
    found = [(CONCEPTS[concept(label)], share) for label, share in distribution.items()]
    total = sum(share for _, share in found) or 1.0
    return sum(c.valence * share for c, share in found) / total, sum(c.arousal * share for c, share in found) / total


def weights(gates: np.ndarray) -> dict[str, float]:
    """Average (G, 2) fusion weights over the glimpses that have a picture; zeros where none has."""
    shown = gates[gates.sum(1) > 0]
    mean = shown.mean(0) if len(shown) else np.zeros(2)
    return {"general": float(mean[0]), "emotion": float(mean[1])}


def timeline(reading: Reading, shares: np.ndarray, rows: np.ndarray) -> tuple[tuple[Moment, ...], tuple[Episode, ...]]:
    """Compose the timeline of the given glimpses, and its episodes; both are empty for a picture.

    Args:
        reading: of the clip.
        shares: (G, K), NaN where a glimpse says nothing.
        rows: (G,) bool, the glimpses that count.
    """
    clip, labels = reading.prepared.clip, reading.labels
    told = np.flatnonzero(rows & ~np.isnan(shares[:, 0]))
    if clip.still or not len(told):
        return (), ()
    times = np.array([reading.glimpses[row].time for row in told])
    spans, raw, held = [], [], []
    for start, end in windows(*span(clip)):
        inside = told[(times >= start) & (times <= end)]
        if len(inside):
            spans.append((start, end))
            raw.append(shares[inside].mean(0))
            held.append(frozenset().union(*(reading.glimpses[row].channels for row in inside)))
    soft = smooth(np.stack(raw))
    moments = tuple(
        Moment(
            start, end, labels.labels[int(after.argmax())], named(labels, after), named(labels, before),
            valence_arousal(named(labels, after)), tuple(name for name in CHANNELS if name in channels),
        )
        for (start, end), before, after, channels in zip(spans, raw, soft, held, strict=True)
    )  # fmt: skip
    return moments, find_episodes(labels.labels, spans, soft)


def describe_person(reading: Reading, person: PersonPictures) -> Person:
    """Compose the row of one person, by picture alone."""
    track, clip, labels = person.track, reading.prepared.clip, reading.labels
    height, width = clip.frames.shape[1:3]
    scale = np.array([width, height, width, height], dtype=np.float64)
    shares = reading.person(track.person)
    rows = reading.rows_of(track.person)
    moments, episodes = timeline(reading, reading.shares(PICTURE), rows)
    boxes = np.round(track.boxes / scale, 4)
    return Person(
        person=track.person,
        label=labels.labels[int(shares.argmax())],
        distribution=named(labels, shares),
        start=float(clip.times[track.frames[0]]),
        end=float(clip.times[track.frames[-1]]),
        frames=len(track.frames),
        box=tuple(np.round(best_box(track) / scale, 4).tolist()),  # type: ignore[arg-type]
        gate=weights(reading.gates[rows]),
        valence_arousal=valence_arousal(named(labels, shares)),
        seen=tuple(
            Seen(float(clip.times[frame]), tuple(box.tolist()), round(float(score), 3))
            for frame, box, score in zip(track.frames, boxes, track.scores, strict=True)
        ),
        timeline=moments,
        episodes=episodes,
    )


def influence(reading: Reading, pooled: np.ndarray) -> tuple[Channel, ...]:
    """Say of every channel what it alone says, and how far the clip's answer moves without it.

    Without any channel nothing is known, and all labels have the same share.
    """
    labels, leading = reading.labels, int(pooled.argmax())
    counts = reading.calibration.weights(reading.channels)
    found = []
    for channel in CHANNELS:
        if channel not in reading.channels:
            found.append(Channel(channel, "", {}, 0.0, False))
            continue
        alone = reading.clip((channel,))
        rest = tuple(name for name in reading.channels if name != channel)
        without = reading.clip(rest) if rest else np.full(len(pooled), 1 / len(pooled))
        moved = float(np.log(max(pooled[leading], 1e-9)) - np.log(max(without[leading], 1e-9)))
        own = labels.labels[int(alone.argmax())]
        flat = alone.max() * len(alone) < SAYING
        agrees = bool(flat) or own == labels.labels[leading]
        found.append(Channel(channel, own, named(labels, alone), moved, agrees, counts.get(channel)))
    return tuple(found)


def doubt(pooled: np.ndarray, calibrated: bool, threshold: float) -> Uncertainty:
    """Say how far to trust a distribution.

    Args:
        pooled: (K,) of the clip.
        calibrated: whether its shares may be called probabilities.
        threshold: confidence below which the report abstains.
    """
    confidence = float(pooled.max())
    entropy = -float((pooled * np.log(np.maximum(pooled, 1e-12))).sum()) / math.log(len(pooled))
    return Uncertainty(
        confidence=confidence,
        entropy=min(max(entropy, 0.0), 1.0),
        calibrated=calibrated,
        threshold=threshold,
        abstains=confidence < threshold,
    )


def find_cues(reading: Reading, found: Outline) -> tuple[Cue, ...]:
    """Measure everything the answer can be checked against, in order of time."""
    cues = []
    for pictures, episodes in _of_people(reading, found):
        cues += face_cues(reading, pictures, episodes)
    cues += voice_cues(reading, found.episodes or (_throughout(reading, found.leading),))
    cues += text_cues(reading, found.leading)
    return tuple(sorted(cues, key=lambda cue: (cue.start, CHANNELS.index(cue.modality))))


def cue_views(reading: Reading, found: Outline) -> list[View]:
    """Return what `find_cues` asks about, so that it can be asked together with other clips' views."""
    return [
        view for pictures, episodes in _of_people(reading, found) for view in covered_views(reading, pictures, episodes)
    ]


def _of_people(reading: Reading, found: Outline) -> list[tuple[PersonPictures, tuple[Episode, ...]]]:
    """Pair people with their episodes; a picture has none, so that it is one."""
    whole = _throughout(reading, found.leading)
    return [
        (pictures, person.episodes or (replace(whole, label=person.label),))
        for pictures, person in zip(reading.prepared.people, found.people, strict=True)
    ]


def _throughout(reading: Reading, leading: int) -> Episode:
    start, end = span(reading.prepared.clip)
    return Episode(reading.labels.labels[leading], start, end, (start + end) / 2, 0.0)


def explain(
    reading: Reading, episodes: Sequence[Episode], channels: Sequence[Channel], leading: int, summary: str
) -> tuple[Sentence, ...]:
    """Compose the rationale: the model's sentence, then what was measured."""
    labels, texts = reading.labels, _TEXTS[reading.language]
    names = dict(zip(labels.labels, labels.names(reading.language), strict=True))
    label, before = names[labels.labels[leading]], float(reading.clip(reading.channels)[leading])
    told = [
        texts["leads"].format(label=names[e.label], onset=e.onset, offset=e.offset, peak=e.peak, share=e.share)
        for e in episodes
    ]
    present = [channel for channel in channels if channel.label]
    for channel in present if len(present) > 1 else ():
        name = _CHANNEL_NAMES[reading.language][channel.channel]
        if not channel.agrees:
            told.append(texts["disagrees"].format(channel=name, own=names[channel.label], label=label))
        if abs(channel.moved) >= TELLING_MOVE:
            after = before * math.exp(-channel.moved)
            told.append(texts["moves"].format(channel=name, label=label, before=before, after=after))
    told = [text[:1].upper() + text[1:] for text in told]
    return (Sentence(summary, GENERATED), *(Sentence(text, MEASURED) for text in told))


def open_words(texts: Sequence[str], language: str) -> tuple[str, ...]:
    """Collect the emotions that the model's own sentences name, most often first, whatever the label set."""
    counted = Counter(name for text in texts for name in sorted(stated_concepts(text, language)))
    return tuple(name for name, _ in counted.most_common())
