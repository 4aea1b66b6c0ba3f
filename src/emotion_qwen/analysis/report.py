"""From a reading to an `EmotionReport`: people, timeline, channels, cues, and how far to trust it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emotion_qwen.analysis.cues import covered_views, face_cues, text_cues, voice_cues
from emotion_qwen.analysis.moments import find_episodes, smooth, windows
from emotion_qwen.analysis.presence import SHORTEST, Span, appearances, bridged, merged, outside, whole_span
from emotion_qwen.analysis.reading import PICTURE, ClipReading
from emotion_qwen.engine.encoding import View
from emotion_qwen.faces import best_box
from emotion_qwen.matching.statements import stated_concepts
from emotion_qwen.prepare import PersonPictures
from emotion_qwen.records import (
    CHANNELS,
    GENERATED,
    MEASURED,
    PEOPLE,
    Channel,
    Cue,
    Episode,
    Gap,
    Moment,
    Person,
    Seen,
    Sentence,
    Uncertainty,
    Utterance,
)
from emotion_qwen.strings import SENTENCES, in_language
from emotion_qwen.taxonomy import CONCEPTS, LabelSet, concept

ABSTAIN_BELOW = 0.4
"""Confidence below which a report abstains, unless the user says otherwise."""
_DENIAL = re.compile(
    r"\b(?:no (?:person|people|one|face)|nobody)\b.{0,20}\b(?:seen|visible|there)\b|(?:看不到|看不见|没有)人",
    re.IGNORECASE,
)
SAYING = 1.5
"""How many times the share of a guess a channel's own label must have for the channel to say anything."""
TELLING_MOVE = math.log(1.25)
"""How far a channel must move the answer to be spoken of."""


@dataclass(frozen=True)
class Conclusion:
    """What is concluded about a clip as a whole, without what it rests on.

    Attributes:
        label: of the label set, the likeliest; None where nothing can be answered.
        distribution: label -> share of all channels together; empty where nothing can be answered.
        reason: why there is no answer, in the reading's language; "" where there is one.
        gate: mean fusion weights, "general" and "emotion"; zeros without a picture.
        channels: of `records.CHANNELS`, those that the answer comes from.
        people: numbers of the people that were seen.
    """

    label: str | None
    distribution: dict[str, float]
    reason: str
    gate: dict[str, float]
    channels: tuple[str, ...]
    people: tuple[int, ...]


def conclude(reading: ClipReading) -> Conclusion:
    """Conclude about a clip from its glimpses alone; what the reader was asked before is not asked again."""
    channels, people = reading.channels, tuple(reading.people)
    if not channels:
        return Conclusion(None, {}, unanswered(reading), weights(reading.gates), (), people)
    pooled = reading.clip(channels)
    label = reading.labels.labels[int(pooled.argmax())]
    return Conclusion(label, named(reading.labels, pooled), "", weights(reading.gates), channels, people)


def unanswered(reading: ClipReading) -> str:
    """Say why there is no answer where nothing was found to answer about, in the reading's language."""
    clip = reading.prepared.clip
    seeks = (bool(len(clip.frames)), clip.wave is not None and reading.hears)
    key = {(True, True): "neither", (True, False): "unseen", (False, True): "unheard"}.get(seeks, "nothing")
    return in_language(SENTENCES, reading.language)[key if reading.about == PEOPLE else "nothing"]


@dataclass(frozen=True, eq=False)
class Outline:
    """What the likelihoods alone tell of a clip; cues and the model's own sentence come after it.

    Attributes:
        shares: (G, K) of the glimpses, with all channels.
        conclusion: of the clip.
        people: everyone seen.
        timeline: of the clip.
        episodes: of the clip.
        gaps: of the clip.
    """

    shares: np.ndarray
    conclusion: Conclusion
    people: tuple[Person, ...]
    timeline: tuple[Moment, ...]
    episodes: tuple[Episode, ...]
    gaps: tuple[Gap, ...]


def outline(reading: ClipReading) -> Outline:
    """Compose people, timeline, gaps and the clip's answer."""
    shares, clip = reading.shares(reading.channels), reading.prepared.clip
    people = tuple(describe_person(reading, person) for person in reading.prepared.people)
    spans = answered_spans(reading)
    moments, episodes = timeline(reading, shares, np.ones(len(reading.glimpses), dtype=bool), spans)
    left = [] if clip.still else outside(spans, *whole_span(clip))
    gaps = tuple(Gap(start, end, unanswered(reading)) for start, end in left)
    return Outline(shares, conclude(reading), people, moments, episodes, gaps)


def answered_spans(reading: ClipReading) -> list[Span]:
    """Return the stretches of a clip about which there is something to answer, seconds; see `presence`."""
    clip = reading.prepared.clip
    shown = [span for person in reading.prepared.people for span in appearances(clip, person.track)]
    return bridged([*shown, *(glimpse.span for glimpse in reading.glimpses if glimpse.span)], *whole_span(clip))


def named(labels: LabelSet, shares: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Pair the labels with their shares."""
    return {name: float(share) for name, share in zip(labels.labels, shares, strict=True)}


def valence_arousal(distribution: Mapping[str, float]) -> tuple[float, float]:
    """Return the expected valence and arousal, each -1..1, of a distribution; see `taxonomy.COORDINATES_SOURCE`.

    Raises:
        SettingsError: a label is no known emotion.
    """
    weighted = [(CONCEPTS[concept(label)], share) for label, share in distribution.items()]
    total = sum(share for _, share in weighted) or 1.0
    valence, arousal = (sum(getattr(c, name) * share for c, share in weighted) for name in ("valence", "arousal"))
    return valence / total, arousal / total


def weights(gates: np.ndarray) -> dict[str, float]:
    """Average (G, 2) fusion weights over the glimpses that have a picture; zeros where none has."""
    shown = gates[gates.sum(1) > 0]
    mean = shown.mean(0) if len(shown) else np.zeros(2)
    return {"general": float(mean[0]), "emotion": float(mean[1])}


def timeline(
    reading: ClipReading, shares: np.ndarray, rows: np.ndarray, spans: Sequence[Span]
) -> tuple[tuple[Moment, ...], tuple[Episode, ...]]:
    """Compose the timeline of the given glimpses, and its episodes; both are empty for a picture.

    Args:
        reading: of the clip.
        shares: (G, K), NaN where a glimpse says nothing.
        rows: (G,) bool, the glimpses that count.
        spans: stretches that are answered about, seconds; windows, smoothing and episodes stay within each.
    """
    filled = np.flatnonzero(rows & ~np.isnan(shares[:, 0]))
    if reading.prepared.clip.still:
        return (), ()
    moments: list[Moment] = []
    episodes: list[Episode] = []
    for span in spans:
        inside = [row for row in filled.tolist() if span[0] <= reading.glimpses[row].time <= span[1]]
        if inside:
            more, stretches = _stretch(reading, shares, inside, span)
            moments += more
            episodes += stretches
    return tuple(moments), tuple(episodes)


def _stretch(
    reading: ClipReading, shares: np.ndarray, rows: Sequence[int], span: Span
) -> tuple[list[Moment], tuple[Episode, ...]]:
    """Compose the timeline of one stretch from the `rows` of its glimpses."""
    labels, cut = reading.labels, window_rows(reading, rows, span)
    raw = [shares[inside].mean(0) for _, inside in cut]
    soft = smooth(np.stack(raw))
    moments = []
    for ((start, end), inside), before, after in zip(cut, raw, soft, strict=True):
        channels = frozenset().union(*(reading.glimpses[row].channels for row in inside))
        moments.append(
            Moment(
                start, end, labels.labels[int(after.argmax())], named(labels, after), named(labels, before),
                valence_arousal(named(labels, after)), tuple(name for name in CHANNELS if name in channels),
            )
        )  # fmt: skip
    return moments, find_episodes(labels.labels, [window for window, _ in cut], soft)


def window_rows(reading: ClipReading, rows: Sequence[int], span: Span) -> list[tuple[Span, list[int]]]:
    """Cut a stretch into windows, each with those of the glimpses `rows` that lie in it; without any, the nearest."""
    times = np.array([reading.glimpses[row].time for row in rows])
    cut = []
    for start, end in windows(*span):
        away = np.maximum(np.abs(times - (start + end) / 2) - (end - start) / 2, 0.0)  # 0 inside the window
        cut.append(((start, end), np.array(rows)[away <= away.min() + 1e-9].tolist()))
    return cut


def describe_person(reading: ClipReading, person: PersonPictures) -> Person:
    """Compose the row of one person, by picture alone."""
    track, clip, labels = person.track, reading.prepared.clip, reading.labels
    height, width = clip.frames.shape[1:3]
    scale = np.array([width, height, width, height], dtype=np.float64)
    shares = reading.person(track.person)
    rows = reading.rows_of(track.person)
    moments, episodes = timeline(reading, reading.shares(PICTURE), rows, merged(appearances(clip, track), SHORTEST))
    in_frame = {time: named(labels, reading.frame(track.person, time)) for time in set(person.times.tolist())}
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
            Seen(time, tuple(box.tolist()), round(float(score), 3), in_frame.get(time, {}))
            for time, box, score in zip(clip.times[track.frames].tolist(), boxes, track.scores, strict=True)
        ),
        timeline=moments,
        episodes=episodes,
    )


def influence(reading: ClipReading) -> tuple[Channel, ...]:
    """Say of every channel what it alone says, and how far the clip's answer moves without it.

    Without any channel nothing is known, and all labels have the same share.
    """
    labels, pooled = reading.labels, reading.clip(reading.channels)
    leading = int(pooled.argmax())
    counts = reading.calibration.weights(reading.channels)
    channels = []
    for channel in CHANNELS:
        if channel not in reading.channels:
            channels.append(Channel(channel, "", {}, 0.0, False))
            continue
        alone = reading.clip((channel,))
        rest = tuple(name for name in reading.channels if name != channel)
        without = reading.clip(rest) if rest else np.full(len(pooled), 1 / len(pooled))
        moved = float(np.log(max(pooled[leading], 1e-9)) - np.log(max(without[leading], 1e-9)))
        favoured = labels.labels[int(alone.argmax())]
        flat = alone.max() * len(alone) < SAYING
        agrees = bool(flat) or favoured == labels.labels[leading]
        channels.append(Channel(channel, favoured, named(labels, alone), moved, agrees, counts.get(channel)))
    return tuple(channels)


def denies_person(text: str) -> bool:
    """Whether a sentence, in English or Chinese, says that nobody is to be seen."""
    return bool(_DENIAL.search(text))


def doubt(
    conclusion: Conclusion, calibrated: bool, threshold: float, language: str, *, unread: bool = False
) -> Uncertainty:
    """Say how far to trust a conclusion; one without an answer abstains.

    Args:
        conclusion: of a clip.
        calibrated: whether its shares may be called probabilities.
        threshold: confidence below which to abstain.
        language: "en" or "zh", of the reason.
        unread: the model does not see a person in the face that shows the answer best; then it abstains, too.
    """
    texts = in_language(SENTENCES, language)
    shares = np.array(list(conclusion.distribution.values()))
    confidence = entropy = None
    reason = conclusion.reason
    if conclusion.label is not None:
        confidence = float(shares.max())
        entropy = min(max(-float((shares * np.log(np.maximum(shares, 1e-12))).sum()) / math.log(len(shares)), 0.0), 1.0)
        if unread:
            reason = texts["unread"]
        elif confidence < threshold:
            digits = 0 if f"{confidence:.0%}" != f"{threshold:.0%}" else 2
            reason = texts["below"].format(confidence=f"{confidence:.{digits}%}", threshold=f"{threshold:.{digits}%}")
    return Uncertainty(
        confidence=confidence,
        entropy=entropy,
        calibrated=calibrated,
        threshold=threshold,
        abstains=bool(reason),
        reason=reason,
    )


def find_cues(reading: ClipReading, facts: Outline) -> tuple[Cue, ...]:
    """Measure everything the answer can be checked against, in order of time; without an answer there is nothing."""
    cues: list[Cue] = []
    if facts.conclusion.label is None:
        return ()
    for pictures, episodes in _of_people(reading, facts):
        cues += face_cues(reading, pictures, episodes)
    leading = reading.labels.labels.index(facts.conclusion.label)
    cues += voice_cues(reading, facts.episodes or (_throughout(reading, facts.conclusion.label),))
    cues += text_cues(reading, leading)
    return tuple(sorted(cues, key=lambda cue: (cue.start, CHANNELS.index(cue.modality))))


def cue_views(reading: ClipReading, facts: Outline) -> list[View]:
    """Return what `find_cues` asks about, so that it can be asked together with other clips' views."""
    return [
        view for pictures, episodes in _of_people(reading, facts) for view in covered_views(reading, pictures, episodes)
    ]


def _of_people(reading: ClipReading, facts: Outline) -> list[tuple[PersonPictures, tuple[Episode, ...]]]:
    """Pair people with their episodes; a picture has none, so that it is one."""
    return [
        (pictures, person.episodes or (_throughout(reading, person.label),))
        for pictures, person in zip(reading.prepared.people, facts.people, strict=True)
    ]


def _throughout(reading: ClipReading, label: str) -> Episode:
    start, end = whole_span(reading.prepared.clip)
    return Episode(label, start, end, (start + end) / 2, 0.0)


def explain(reading: ClipReading, facts: Outline, channels: Sequence[Channel], summary: str) -> tuple[Sentence, ...]:
    """Compose the rationale: the model's sentence, then what was measured; without an answer there is none."""
    if facts.conclusion.label is None:
        return ()
    labels, texts = reading.labels, in_language(SENTENCES, reading.language)
    names = dict(zip(labels.labels, labels.names(reading.language), strict=True))
    label, before = names[facts.conclusion.label], facts.conclusion.distribution[facts.conclusion.label]
    sentences = [
        texts["leads"].format(label=names[e.label], onset=e.onset, offset=e.offset, peak=e.peak, share=e.share)
        for e in facts.episodes
    ]
    present = [channel for channel in channels if channel.label]
    for channel in present if len(present) > 1 else ():
        name = texts[f"the_{channel.channel}"]
        if not channel.agrees:
            sentences.append(texts["disagrees"].format(channel=name, own=names[channel.label], label=label))
        if abs(channel.moved) >= TELLING_MOVE:
            after = before * math.exp(-channel.moved)
            sentences.append(texts["moves"].format(channel=name, label=label, before=before, after=after))
    sentences = [text[:1].upper() + text[1:] for text in sentences]
    written = (Sentence(summary, GENERATED),) if summary else ()
    return (*written, *(Sentence(text, MEASURED) for text in sentences))


def other_language(utterances: Sequence[Utterance], language: str) -> list[str]:
    """Return the warning that words are in another language than the questions, by their script; empty if they are not.

    A letter counts as Chinese if it is a CJK ideograph, any other letter as not: so Chinese words under an English
    question are told, and words in any alphabet, kana or hangul under a Chinese one. Languages of one alphabet are not
    told apart.
    """
    letters = [letter for utterance in utterances for letter in utterance.text if letter.isalpha()]
    chinese = sum("\u3400" <= letter <= "\u9fff" for letter in letters)
    if not letters or (2 * chinese > len(letters)) == (language == "zh"):
        return []
    script, other = ("another script", "Chinese") if language == "zh" else ("Chinese characters", "English")
    return [f"the words are in {script}, but the questions in {other}; what the model makes of them is a guess"]


def open_words(texts: Sequence[str], language: str) -> tuple[str, ...]:
    """Collect the emotions that the model's own sentences name, most often first, whatever the label set."""
    counted = Counter(name for text in texts for name in sorted(stated_concepts(text, language)))
    return tuple(name for name, _ in counted.most_common())
