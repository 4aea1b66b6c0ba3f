"""The frozen records that cross package borders. Arrays in them are shared, not copied: nobody writes into them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Utterance:
    """Words with their time: `start` and `end` in seconds on the clip's clock."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, eq=False)
class Clip:
    """Decoded media: picture, sound and words on one clock.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB, reduced to the working side, upright; T is 0 for sound alone.
        times: (T,) seconds of each frame from the start of the file, ascending.
        source: the path as given.
        still: a picture, not a video (then T is 1).
        duration: length of the medium in seconds; 0 for a picture.
        size: (height, width) of the medium before reduction, upright, pixels.
        wave: (S,) float32 mono, or None without sound.
        sample_rate: of `wave`, Hz; 0 without sound.
        wave_start: seconds of the wave's first sample.
        utterances: words, in order.
        words_from: where they were read, or what recognised them; "" without words.
        origin: seconds of the clip's zero on the container's own clock.
        warnings: what was wrong with the file and could be mended.
    """

    frames: np.ndarray
    times: np.ndarray
    source: str
    still: bool = False
    duration: float = 0.0
    size: tuple[int, int] = (0, 0)
    wave: np.ndarray | None = None
    sample_rate: int = 0
    wave_start: float = 0.0
    utterances: tuple[Utterance, ...] = ()
    words_from: str = ""
    origin: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def fps(self) -> float | None:
        """Measured frames per second of `times`; None for fewer than two frames."""
        span = float(self.times[-1] - self.times[0]) if len(self.times) > 1 else 0.0
        return (len(self.times) - 1) / span if span > 0 else None


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One face over time. It says that it is the same face from frame to frame, never whose.

    Attributes:
        person: number of the track in its clip, from 0, in order of first appearance.
        frames: (K,) int64 indices into the clip's frames, ascending.
        boxes: (K, 4) float32 x1, y1, x2, y2 in pixels of the clip's frames.
        scores: (K,) float32 detector scores in 0..1.
    """

    person: int
    frames: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Sample:
    """One annotated item: a conversation with its media, and what is known of it.

    Attributes:
        id: unique within its source.
        messages: `{"role", "content"}`, in the processor's form; media stand inside the contents as paths or arrays.
        labels: names by kind, for example {"emotion": "happiness"}.
        split: "train", "validation" or "test".
        source: where it comes from.
        license: the terms it stands under.
    """

    id: str
    messages: tuple[dict[str, Any], ...]
    labels: dict[str, str] = field(default_factory=dict)
    split: str = "train"
    source: str = ""
    license: str = ""


MEASURED, GENERATED = "measured", "generated"
CHANNELS = ("picture", "sound", "words", "context")
"""What a model can be told of a clip, in the order in which it is told."""
ABOUT = PEOPLE, WHOLE, EVOKED = "people", "whole", "evoked"
"""What a report is about: what people show; the same, answered from whole frames and all sound where nobody is found;
or what the picture evokes in whoever looks at it."""


@dataclass(frozen=True)
class Moment:
    """One window of a timeline: what is felt between two times, in seconds, with shares before and after smoothing."""

    start: float
    end: float
    label: str
    distribution: dict[str, float]
    """Smoothed."""
    raw: dict[str, float]
    """As the window alone gave it."""
    valence_arousal: tuple[float, float]
    channels: tuple[str, ...]
    """Of `CHANNELS`, those that the window holds."""


@dataclass(frozen=True)
class Episode:
    """A stretch of a timeline with one label: from its onset to its offset, seconds, with the time of its peak."""

    label: str
    onset: float
    offset: float
    peak: float
    share: float
    """The label's share at the peak."""


@dataclass(frozen=True)
class Gap:
    """A stretch of a clip without an answer: from `start` to `end`, seconds, and why, in the report's language."""

    start: float
    end: float
    reason: str


@dataclass(frozen=True)
class Seen:
    """Where a face was at one time, and what it shows in that frame alone.

    Attributes:
        time: seconds.
        box: x1, y1, x2, y2 as shares of width and height.
        score: of the detector, 0 to 1.
        distribution: label -> share in this frame, by picture alone, not smoothed; empty where no crop of it was read.
    """

    time: float
    box: tuple[float, float, float, float]
    score: float
    distribution: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Person:
    """What one tracked person shows: label and distribution over the chosen label set, and when the face was seen."""

    person: int
    label: str
    distribution: dict[str, float]
    start: float
    end: float
    frames: int
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 of the face where it was seen best, as shares of width and height."""
    gate: dict[str, float]
    valence_arousal: tuple[float, float] = (0.0, 0.0)
    seen: tuple[Seen, ...] = ()
    """The track, in order of time."""
    timeline: tuple[Moment, ...] = ()
    episodes: tuple[Episode, ...] = ()


@dataclass(frozen=True)
class Cue:
    """Something that can be checked: where and when it is, what it says, and the measurements behind it.

    Attributes:
        modality: of `CHANNELS`.
        start: seconds; a picture has 0.
        end: seconds.
        text: one sentence, in the report's language.
        kind: "measured" where the sentence is composed of `measures`, "generated" where the model wrote it.
        measures: name with its unit -> value; a face or voice cue always has one.
        person: whose it is, as in `people`; None where that is not known.
        box: x1, y1, x2, y2 as shares of width and height; None without a place in the picture.
    """

    modality: str
    start: float
    end: float
    text: str
    kind: str
    measures: dict[str, float] = field(default_factory=dict)
    person: int | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Sentence:
    """A sentence and where it comes from: "generated" by the model, or "measured", composed from measurements."""

    text: str
    kind: str


@dataclass(frozen=True)
class Channel:
    """What one channel alone says, and how far the answer moves without it.

    Attributes:
        channel: of `CHANNELS`.
        label: what the channel alone says most; "" where the clip has nothing of it.
        distribution: what it alone says; empty where the clip has nothing of it.
        moved: natural logarithm of the clip's label's share with all channels over its share without this one.
        agrees: whether its own label is the clip's, or it alone says next to nothing (all labels nearly alike).
        weight: how much the channel counts beside the others, 0 to 1, by its reliability on validation data; None where
            that is unknown and the model weighs the channels itself.
    """

    channel: str
    label: str
    distribution: dict[str, float]
    moved: float
    agrees: bool
    weight: float | None = None


@dataclass(frozen=True)
class Uncertainty:
    """How far a report trusts itself.

    Attributes:
        confidence: the leading label's share after calibration, 0 to 1; None where there is no answer.
        entropy: of the distribution as a share of the largest possible, 0 (certain) to 1; None likewise.
        calibrated: whether every channel of the clip was calibrated for this model and label set.
        threshold: confidence below which the report abstains.
        abstains: whether it does: a label that stands all the same is not an answer.
        reason: why it abstains, in the report's language; "" where it does not.
    """

    confidence: float | None
    entropy: float | None
    calibrated: bool
    threshold: float
    abstains: bool
    reason: str = ""


@dataclass(frozen=True)
class EmotionReport:
    """What the people in a clip feel, as far as a model can say, and where the answer comes from.

    Attributes:
        source: the path as given.
        label: of the label set, the likeliest; None where nothing can be answered.
        distribution: label -> share of all channels together; empty where nothing can be answered.
        people: one of each tracked face, by picture alone; several faces are never merged.
        gate: mean fusion weights, "general" and "emotion".
        summary: the model's own sentence.
        language: "en" or "zh", of all texts.
        valence_arousal: expected values over the distribution, each in -1..1; None where nothing can be answered.
        timeline: overlapping windows in order of time; empty for a picture. No window reaches into a gap.
        episodes: stretches of the timeline with one label.
        gaps: stretches without an answer, in order of time; empty for a picture.
        about: of `ABOUT`, what was asked.
        cues: what the answer can be checked against.
        words: open words for the emotion, likeliest first, whatever the label set.
        rationale: why, sentence by sentence.
        channels: of each channel, what it says and how much it counted.
        uncertainty: how far to trust this; None of a report that was made without.
        utterances: the words that were read.
        context: what the user said of the situation.
        reasoning: step -> text, where structured thinking was asked for; all of it is generated.
        provenance: model, weights, prompt, budgets, warnings.
    """

    source: str
    label: str | None
    distribution: dict[str, float]
    people: tuple[Person, ...]
    gate: dict[str, float]
    summary: str
    language: str
    valence_arousal: tuple[float, float] | None = None
    timeline: tuple[Moment, ...] = ()
    episodes: tuple[Episode, ...] = ()
    gaps: tuple[Gap, ...] = ()
    about: str = PEOPLE
    cues: tuple[Cue, ...] = ()
    words: tuple[str, ...] = ()
    rationale: tuple[Sentence, ...] = ()
    channels: tuple[Channel, ...] = ()
    uncertainty: Uncertainty | None = None
    utterances: tuple[Utterance, ...] = ()
    context: str = ""
    reasoning: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
