"""Turn a reading into an `EmotionReport`: people, timeline, channels, cues, and uncertainty."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emotion_qwen.analysis import moments as windowing
from emotion_qwen.analysis.cues import covered_views, face_cues, level_cues, text_cues, voice_cues, word_cues
from emotion_qwen.analysis.movements import movements, person_actions
from emotion_qwen.analysis.presence import SHORTEST, Span, appearances, bridged, merged, outside, whole_span
from emotion_qwen.analysis.reading import PICTURE, ClipReading
from emotion_qwen.engine.encoding import View
from emotion_qwen.faces import best_box
from emotion_qwen.matching.statements import stated_concepts
from emotion_qwen.prepare import PersonPictures
from emotion_qwen.records import (
    CHANNELS,
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
from emotion_qwen.taxonomy import LabelSet, valence_arousal

_DENIAL = re.compile(
    r"\b(?:no (?:person|people|one|face)|nobody)\b.{0,20}\b(?:seen|visible|there)\b|(?:看不到|看不见|没有)人",
    re.IGNORECASE,
)
SAYING = 1.5
"""Smallest share of a channel's own label, as a multiple of 1 / K, from which the channel has an answer."""
TELLING_MOVE = math.log(1.25)
"""Smallest effect of a channel on the answer that is mentioned in the rationale."""


@dataclass(frozen=True)
class Conclusion:
    """The answer for a clip as a whole, without its evidence.

    Attributes:
        label: the likeliest label; None if there is no answer.
        distribution: label -> share by all channels together; empty if there is no answer.
        reason: why there is no answer, in the language of the reading; "" if there is one.
        gate: mean fusion weights, "general" and "emotion"; zeros without a picture.
        channels: those of `records.CHANNELS` on which the answer is based.
        people: numbers of the people who were seen.
    """

    label: str | None
    distribution: dict[str, float]
    reason: str
    gate: dict[str, float]
    channels: tuple[str, ...]
    people: tuple[int, ...]


def conclude(reading: ClipReading) -> Conclusion:
    """Return the conclusion about a clip from its glimpses alone; cached answers are reused."""
    channels, people = reading.channels, tuple(reading.people)
    if not channels:
        return Conclusion(None, {}, unanswered(reading), weights(reading.gates), (), people)
    pooled = reading.answer(channels)
    label = reading.labels.labels[int(pooled.argmax())]
    return Conclusion(label, named(reading.labels, pooled), "", weights(reading.gates), channels, people)


def unanswered(reading: ClipReading) -> str:
    """Return why there is no answer for periods without a person, in the language of the reading."""
    clip = reading.prepared.clip
    seeks = (bool(len(clip.frames)), clip.wave is not None and reading.hears)
    key = {(True, True): "neither", (True, False): "unseen", (False, True): "unheard"}.get(seeks, "nothing")
    return in_language(SENTENCES, reading.language)[key if reading.about == PEOPLE else "nothing"]


@dataclass(frozen=True, eq=False)
class Outline:
    """The part of a report that follows from likelihoods alone, without cues and generated sentences.

    Attributes:
        shares: (G, K) shares of the glimpses, with all channels.
        conclusion: of the clip.
        people: everyone who was seen.
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
    """Compose people, timeline, gaps and the answer for the clip."""
    shares, clip = reading.shares(reading.channels), reading.prepared.clip
    people = tuple(describe_person(reading, person) for person in reading.prepared.people)
    spans = answered_spans(reading)
    moments, episodes = timeline(reading, shares, np.ones(len(reading.glimpses), dtype=bool), spans)
    left = [] if clip.still else outside(spans, *whole_span(clip))
    gaps = tuple(Gap(start, end, unanswered(reading)) for start, end in left)
    return Outline(shares, conclude(reading), people, moments, episodes, gaps)


def answered_spans(reading: ClipReading) -> list[Span]:
    """Return the spans (start, end) in seconds in which somebody is present; see `presence`."""
    clip = reading.prepared.clip
    shown = [span for person in reading.prepared.people for span in appearances(clip, person.track)]
    return bridged([*shown, *(glimpse.span for glimpse in reading.glimpses if glimpse.span)], *whole_span(clip))


def named(labels: LabelSet, shares: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Pair the labels with their shares."""
    return {name: float(share) for name, share in zip(labels.labels, shares, strict=True)}


def weights(gates: np.ndarray) -> dict[str, float]:
    """Average (G, 2) fusion weights over the glimpses with a picture; zeros if there are none."""
    shown = gates[gates.sum(1) > 0]
    mean = shown.mean(0) if len(shown) else np.zeros(2)
    return {"general": float(mean[0]), "emotion": float(mean[1])}


def timeline(
    reading: ClipReading, shares: np.ndarray, rows: np.ndarray, spans: Sequence[Span]
) -> tuple[tuple[Moment, ...], tuple[Episode, ...]]:
    """Compose the timeline of the given glimpses, and its episodes; both are empty for a picture.

    Args:
        reading: of the clip.
        shares: (G, K); rows of NaN are ignored.
        rows: (G,) bool mask of the glimpses to use.
        spans: (start, end) in seconds with an answer; windows, smoothing and episodes do not cross their ends.
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
    """Compose the timeline of one period from the `rows` of its glimpses."""
    labels, cut = reading.labels, window_rows(reading, rows, span)
    raw = [shares[inside].mean(0) for _, inside in cut]
    soft = windowing.smooth(np.stack(raw))
    moments = []
    for ((start, end), inside), before, after in zip(cut, raw, soft, strict=True):
        channels = frozenset().union(*(reading.glimpses[row].channels for row in inside))
        moments.append(
            Moment(
                start, end, labels.labels[int(after.argmax())], named(labels, after), named(labels, before),
                valence_arousal(named(labels, after)), tuple(name for name in CHANNELS if name in channels),
            )
        )  # fmt: skip
    shortest = windowing.SHORTEST * reading.request.window
    return moments, windowing.find_episodes(labels.labels, [window for window, _ in cut], soft, shortest)


def window_rows(reading: ClipReading, rows: Sequence[int], span: Span) -> list[tuple[Span, list[int]]]:
    """Divide a period into windows, each with the glimpses of `rows` inside it, or the nearest if there is none."""
    times = np.array([reading.glimpses[row].time for row in rows])
    cut = []
    for start, end in windowing.windows(*span, reading.request.window):
        away = np.maximum(np.abs(times - (start + end) / 2) - (end - start) / 2, 0.0)  # 0 inside the window
        cut.append(((start, end), np.array(rows)[away <= away.min() + 1e-9].tolist()))
    return cut


def describe_person(reading: ClipReading, person: PersonPictures) -> Person:
    """Compose the entry of one person, by picture only."""
    track, clip, labels = person.track, reading.prepared.clip, reading.labels
    height, width = clip.frames.shape[1:3]
    scale = np.array([width, height, width, height], dtype=np.float64)
    shares = reading.person(track.person)
    rows = reading.rows_of(track.person)
    moments, episodes = timeline(reading, reading.shares(PICTURE), rows, merged(appearances(clip, track), SHORTEST))
    actions = person_actions(reading, person)
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
        seen=faces_seen(reading, person),
        timeline=moments,
        episodes=episodes,
        face=movements(actions, reading.engine.training_facts()) if actions else (),
    )


def faces_seen(reading: ClipReading, person: PersonPictures) -> tuple[Seen, ...]:
    """Return where the face of a person was in each frame, and what it shows there."""
    track, clip, labels = person.track, reading.prepared.clip, reading.labels
    height, width = clip.frames.shape[1:3]
    boxes = np.round(track.boxes / np.array([width, height, width, height], dtype=np.float64), 4)
    shares = {time: named(labels, reading.frame(track.person, time)) for time in set(person.times.tolist())}
    actions = person_actions(reading, person)
    return tuple(
        Seen(time, tuple(box.tolist()), round(float(score), 3), shares.get(time, {}), actions.get(time, {}))
        for time, box, score in zip(clip.times[track.frames].tolist(), boxes, track.scores, strict=True)
    )


def influence(reading: ClipReading) -> tuple[Channel, ...]:
    """Return for every channel its own answer, and its effect on the answer of the clip.

    Without any channel, all labels have the same share.
    """
    labels, pooled = reading.labels, reading.answer(reading.channels)
    leading = int(pooled.argmax())
    counts = reading.calibration.weights(reading.channels)
    channels = []
    for channel in CHANNELS:
        if channel not in reading.channels:
            channels.append(Channel(channel, "", {}, 0.0, False))
            continue
        alone = reading.clip((channel,))
        rest = tuple(name for name in reading.channels if name != channel)
        without = reading.answer(rest) if rest else np.full(len(pooled), 1 / len(pooled))
        moved = float(np.log(max(pooled[leading], 1e-9)) - np.log(max(without[leading], 1e-9)))
        favoured = labels.labels[int(alone.argmax())]
        flat = alone.max() * len(alone) < SAYING
        agrees = bool(flat) or favoured == labels.labels[leading]
        channels.append(Channel(channel, favoured, named(labels, alone), moved, agrees, counts.get(channel)))
    return tuple(channels)


def denies_person(text: str) -> bool:
    """Whether an English or Chinese sentence says that nobody is visible."""
    return bool(_DENIAL.search(text))


def doubt(
    conclusion: Conclusion, calibrated: bool, threshold: float, language: str, *, unread: bool = False
) -> Uncertainty:
    """Return the uncertainty of a conclusion; a conclusion without an answer abstains.

    Args:
        conclusion: of a clip.
        calibrated: whether its shares are calibrated probabilities.
        threshold: confidence below which to abstain.
        language: "en" or "zh", for the reason.
        unread: whether the model denies a person in the face that shows the answer best; the report then abstains.
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
    """Measure all cues, in order of time; none if there is no answer."""
    cues: list[Cue] = []
    if facts.conclusion.label is None:
        return ()
    for pictures, episodes in _of_people(reading, facts):
        cues += face_cues(reading, pictures, episodes)
    leading = reading.labels.labels.index(facts.conclusion.label)
    cues += level_cues(reading)
    cues += voice_cues(reading, facts.episodes or (_throughout(reading, facts.conclusion.label),))
    cues += word_cues(reading)
    cues += text_cues(reading, leading)
    return tuple(sorted(cues, key=lambda cue: (cue.start, CHANNELS.index(cue.modality))))


def cue_views(reading: ClipReading, facts: Outline) -> list[View]:
    """Return the views that `find_cues` needs, so that they can be scored together with those of other clips."""
    return [
        view for pictures, episodes in _of_people(reading, facts) for view in covered_views(reading, pictures, episodes)
    ]


def _of_people(reading: ClipReading, facts: Outline) -> list[tuple[PersonPictures, tuple[Episode, ...]]]:
    """Pair people with their episodes; a picture counts as a single episode."""
    return [
        (pictures, person.episodes or (_throughout(reading, person.label),))
        for pictures, person in zip(reading.prepared.people, facts.people, strict=True)
    ]


def _throughout(reading: ClipReading, label: str) -> Episode:
    start, end = whole_span(reading.prepared.clip)
    return Episode(label, start, end, (start + end) / 2, 0.0)


def explain(
    reading: ClipReading, facts: Outline, channels: Sequence[Channel], written: Sequence[Sentence]
) -> tuple[Sentence, ...]:
    """Compose the rationale: the model's sentences, then the measurements; empty if there is no answer."""
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
    return (*written, *(Sentence(text, MEASURED) for text in sentences))


def other_language(utterances: Sequence[Utterance], language: str) -> list[str]:
    """Return a warning if the script of the words differs from the language of the questions, else an empty list.

    CJK ideographs count as Chinese, all other letters as not Chinese. So Chinese words with English questions are
    detected, and words in an alphabet, kana or hangul with Chinese questions; languages with the same alphabet are not
    distinguished.
    """
    letters = [letter for utterance in utterances for letter in utterance.text if letter.isalpha()]
    chinese = sum("\u3400" <= letter <= "\u9fff" for letter in letters)
    if not letters or (2 * chinese > len(letters)) == (language == "zh"):
        return []
    return [in_language(SENTENCES, language)["other_words"]]


def open_words(texts: Sequence[str], language: str) -> tuple[str, ...]:
    """Return the emotions named in the model's sentences, the most frequent first, from any label set."""
    counted = Counter(name for text in texts for name in sorted(stated_concepts(text, language)))
    return tuple(name for name, _ in counted.most_common())
