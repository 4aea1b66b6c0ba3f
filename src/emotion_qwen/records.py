"""The frozen records that cross package borders. Arrays in them are shared, not copied: nobody writes into them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from pydantic import Field


@dataclass(frozen=True)
class Utterance:
    """Words with their time: `start` and `end` in seconds on the clip's clock."""

    start: float
    """seconds."""
    end: float
    """seconds."""
    text: str
    """the words."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Decoded media: picture, sound and words on one clock."""

    frames: np.ndarray
    """(T, H, W, 3) uint8 RGB, reduced to the working side, upright; T is 0 for sound alone."""
    times: np.ndarray
    """(T,) seconds of each frame from the start of the file, ascending."""
    source: str
    """the path as given."""
    still: bool = False
    """a picture, not a video (then T is 1)."""
    duration: float = 0.0
    """length of the medium in seconds; 0 for a picture."""
    size: tuple[int, int] = (0, 0)
    """(height, width) of the medium before reduction, upright, pixels."""
    wave: np.ndarray | None = None
    """(S,) float32 mono, or None without sound."""
    sample_rate: int = 0
    """of `wave`, Hz; 0 without sound."""
    wave_start: float = 0.0
    """seconds of the wave's first sample."""
    utterances: tuple[Utterance, ...] = ()
    """words, in order."""
    words_from: str = ""
    """where they were read, or what recognised them; "" without words."""
    origin: float = 0.0
    """seconds of the clip's zero on the container's own clock."""
    warnings: tuple[str, ...] = ()
    """problems of the file that could be corrected."""

    @property
    def fps(self) -> float | None:
        """Measured frames per second of `times`; None for fewer than two frames."""
        span = float(self.times[-1] - self.times[0]) if len(self.times) > 1 else 0.0
        return (len(self.times) - 1) / span if span > 0 else None


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One face over time. It says that it is the same face from frame to frame, never whose."""

    person: int
    """number of the track in its clip, from 1, in order of first appearance."""
    frames: np.ndarray
    """(K,) int64 indices into the clip's frames, ascending."""
    boxes: np.ndarray
    """(K, 4) float32 x1, y1, x2, y2 in pixels of the clip's frames."""
    scores: np.ndarray
    """(K,) float32 detector scores in 0..1."""
    rolls: np.ndarray | None = None
    """(K,) float32 degrees clockwise by which the face is turned in the picture; None if it is upright."""


@dataclass(frozen=True)
class Sample:
    """One annotated item: a conversation with its media, and what is known of it."""

    id: str
    """unique within its source."""
    messages: tuple[dict[str, Any], ...]
    """`{"role", "content"}`, in the processor's form; media stand inside the contents as paths or arrays."""
    labels: dict[str, str] = field(default_factory=dict)
    """names by kind, for example {"emotion": "happiness"}."""
    split: str = "train"
    """"train", "validation" or "test"."""
    source: str = ""
    """where it comes from."""
    license: str = ""
    """the terms it stands under."""


HEAD_ANGLES = ("yaw", "pitch", "roll")
"""How a head is turned, degrees: yaw is positive to the right of the picture, pitch upwards, roll clockwise."""
MEASURED, GENERATED = "measured", "generated"
CHANNELS = ("picture", "sound", "words", "context")
"""The inputs of a model about a clip, in the order of its prompt."""
ABOUT = PEOPLE, WHOLE, EVOKED = "people", "whole", "evoked"
"""What a report is about: what people show; the same, answered from whole frames and all sound where nobody is found;
or what the picture evokes in whoever looks at it."""
PersonNumber = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Signed = Annotated[float, Field(ge=-1, le=1)]
Shares = dict[str, Share]
Modality = Annotated[str, Field(json_schema_extra={"enum": list(CHANNELS)})]
SentenceKind = Annotated[str, Field(json_schema_extra={"enum": [MEASURED, GENERATED]})]


@dataclass(frozen=True)
class Moment:
    """One window of a timeline: what is shown between two times, in seconds, with shares before and after smoothing."""

    start: float
    """seconds."""
    end: float
    """seconds."""
    label: str
    """the likeliest, after smoothing."""
    distribution: Shares
    """Smoothed."""
    raw: Shares
    """As the window alone gave it."""
    valence_arousal: tuple[Signed, Signed] | None
    """expected values over the smoothed distribution; None if a label has no known place (own labels)."""
    channels: tuple[Modality, ...]
    """The channels that the window contains."""


@dataclass(frozen=True)
class Episode:
    """A stretch of a timeline with one label: from its onset to its offset, seconds, with the time of its peak."""

    label: str
    """of the label set."""
    onset: float
    """seconds, its beginning."""
    offset: float
    """seconds, its end."""
    peak: float
    """seconds, the middle of the window with the largest share."""
    share: Share
    """The label's share at the peak."""


@dataclass(frozen=True)
class Gap:
    """A stretch of a clip without an answer: from `start` to `end`, seconds, and why, in the report's language."""

    start: Seconds
    """seconds."""
    end: Seconds
    """seconds."""
    reason: str
    """why there is no answer, in the report's language."""


@dataclass(frozen=True)
class FacialMovement:
    """Something that a face does for a while, measured from crops of it."""

    name: str
    """the measurement, such as "smile" or "jaw"; a key of `faces.face_claims.SCALES`."""
    word: str
    """the word for it, such as "broad smile" or "mouth open"; a key of `faces.face_claims.PHRASES`."""
    start: Seconds
    """seconds, of the first crop in which the claim holds."""
    end: Seconds
    """seconds, of the last crop in which it holds."""
    peak: Seconds
    """seconds, of the crop in which it is clearest."""
    value: float
    """what was measured there: 0 to 1, or degrees for the angles of the head."""


@dataclass(frozen=True)
class Seen:
    """Where a face was at one time, and what it shows in that frame alone."""

    time: Seconds
    """seconds."""
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 as shares of width and height."""
    score: float
    """confidence of the face detector, 0 to 1."""
    distribution: Shares = field(default_factory=dict)
    """label -> share in this frame, by picture alone, not smoothed; empty where no crop of it was read."""
    actions: dict[str, float] = field(default_factory=dict)
    """facial action -> 0 to 1, then yaw, pitch and roll of the head in degrees; left out where no crop was read, or if
    the model does not measure it."""


@dataclass(frozen=True)
class Person:
    """What one tracked person shows: label and distribution over the label set, and when the face was seen."""

    person: PersonNumber
    """number in order of first appearance, from 1, as in all views and tables."""
    label: str
    """the likeliest, by picture alone."""
    distribution: Shares
    """label -> mean share over the crops of this person, by picture alone."""
    start: Seconds
    """seconds, when the face is first seen."""
    end: Seconds
    """seconds, when it is last seen."""
    frames: Annotated[int, Field(ge=1)]
    """number of analyzed frames that show the face."""
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 of the face where it was seen best, as shares of width and height."""
    gate: Shares
    """mean fusion weights over the crops, "general" and "emotion"."""
    valence_arousal: tuple[Signed, Signed] | None = (0.0, 0.0)
    """expected values over the distribution, each in -1..1; None if a label has no known place (own labels)."""
    seen: tuple[Seen, ...] = ()
    """The track, in order of time."""
    timeline: tuple[Moment, ...] = ()
    """windows of this person, by picture alone; empty for a picture."""
    episodes: tuple[Episode, ...] = ()
    """stretches of this person's timeline with one label."""
    face: tuple[FacialMovement, ...] = ()
    """What the face does, in order of time; left out of JSON where it is empty, as for a model that does not measure
    it."""


OMITTED_IF_EMPTY = {
    "Person": ("face",), "Seen": ("actions",), "Sentence": ("contradicted",),
    "EmotionReport": ("verification", "examples"),
}  # fmt: skip
"""Record -> its fields that JSON leaves out where they are empty, because only some models or requests have them."""


@dataclass(frozen=True)
class Cue:
    """Something that can be checked: where and when it is, what it says, and the measurements behind it."""

    modality: Modality
    """the channel that it is about."""
    start: float
    """seconds; a picture has 0."""
    end: float
    """seconds."""
    text: str
    """one sentence, in the report's language."""
    kind: SentenceKind
    """"measured" where the sentence is composed of `measures`, "generated" where the model wrote it."""
    measures: dict[str, float] = field(default_factory=dict)
    """name with its unit -> value; a face or voice cue always has one."""
    person: int | None = None
    """number of the person, as in `people`; None where that is not known."""
    box: tuple[float, float, float, float] | None = None
    """x1, y1, x2, y2 as shares of width and height; None without a place in the picture."""


@dataclass(frozen=True)
class Sentence:
    """A sentence and where it comes from: "generated" by the model, or "measured", composed from measurements."""

    text: str
    """in the report's language."""
    kind: SentenceKind
    """"generated" or "measured"."""
    contradicted: tuple[str, ...] = ()
    """the parts of a generated sentence that the measurements do not confirm, one clause each; left out of JSON where
    it is empty."""


@dataclass(frozen=True)
class Channel:
    """What one channel alone says, and how far the answer moves without it."""

    channel: Modality
    """the input."""
    label: str
    """the likeliest label by this channel alone; "" if the clip does not have the channel."""
    distribution: Shares
    """label -> share by this channel alone; empty if the clip does not have the channel."""
    moved: float
    """influence: natural logarithm of the share of the clip's label with all channels, divided by its share without
    this one."""
    agrees: bool
    """whether its label is that of the clip, or all its labels are nearly equally likely."""
    weight: Share | None = None
    """how much the channel counts beside the others, by its reliability on validation data; None where that is unknown
    and the model weighs the channels itself."""


@dataclass(frozen=True)
class Uncertainty:
    """How far a report trusts itself."""

    confidence: Share | None
    """the leading label's share after calibration, 0 to 1; None where there is no answer."""
    entropy: Share | None
    """entropy of the distribution as a share of the largest possible, 0 (certain) to 1; None likewise."""
    calibrated: bool
    """whether every channel of the clip was calibrated for this model and label set."""
    threshold: Share
    """confidence below which the report gives no answer."""
    abstains: bool
    """whether it gives no answer; a label that is there all the same is not an answer."""
    reason: str = ""
    """why there is no answer, in the report's language; "" if there is one."""


@dataclass(frozen=True)
class Verification:
    """Whether the steps of reasoning, without their conclusion, are true to the answer and to the measurements."""

    emotion: str | None
    """the emotion that the verifier reads in the steps; None without a word."""
    distribution: Shares
    """emotion -> share that the verifier reads in the steps; all 0 without a word."""
    agrees: bool | None
    """whether that emotion is the label of the report; None if the verifier does not know the label."""
    claims: Annotated[int, Field(ge=0)]
    """number of claims in the steps about something that is measured."""
    confirmed: Annotated[int, Field(ge=0)]
    """number of those claims that the measurements confirm."""
    reflected: str | None
    """the label that the model names when it is asked again with its steps alone; None if it names none."""


@dataclass(frozen=True)
class LabelledExample:
    """A labelled clip that is like the clip of the report."""

    source: str
    """its path, as it was given when it was indexed."""
    label: str
    """the label that it was given."""
    distance: Annotated[float, Field(ge=0)]
    """from the clip of the report; two unrelated clips are about 1.4 apart."""


@dataclass(frozen=True)
class EmotionReport:
    """What the people in a clip show, as far as a model can say, and where the answer comes from.

    Each field is described in `docs/schema/emotion_report.schema.json`. Times are seconds on the clip's clock, shares
    are 0 to 1, boxes are x1, y1, x2, y2 as shares of width and height. Nothing in a report is changed once it is made.

    Examples:
        >>> report = EmotionQwen.load().analyze("clip.mp4")
        >>> report.label  # None where no face was found, no voice is heard and nothing is said
        'happy'
        >>> [(episode.label, episode.onset, episode.offset) for episode in report.episodes]
        [('sad', 0.0, 4.2), ('happy', 4.2, 9.5)]
        >>> report.uncertainty.abstains  # then the label is not an answer
        False
    """

    source: str
    """the path of the clip, as given."""
    label: str | None
    """the likeliest label of the set; None where nothing can be answered."""
    distribution: Shares
    """label -> share of all channels together; empty where nothing can be answered."""
    people: tuple[Person, ...]
    """one entry per tracked face, by picture alone; several faces are never merged."""
    gate: Shares
    """mean fusion weights, "general" and "emotion"."""
    summary: str
    """the model's own sentence."""
    language: Annotated[str, Field(json_schema_extra={"enum": ["en", "zh"]})]
    """"en" or "zh", of all texts."""
    valence_arousal: tuple[Signed, Signed] | None = None
    """expected values over the distribution, each in -1..1; None where nothing can be answered, or if a label has no
    known place (own labels)."""
    timeline: tuple[Moment, ...] = ()
    """overlapping windows in order of time; empty for a picture. No window reaches into a gap."""
    episodes: tuple[Episode, ...] = ()
    """stretches of the timeline with one label."""
    gaps: tuple[Gap, ...] = ()
    """stretches without an answer, in order of time; empty for a picture."""
    about: Annotated[str, Field(json_schema_extra={"enum": list(ABOUT)})] = PEOPLE
    """what was asked: what people show, the same with whole frames and all sound, or what the picture evokes."""
    cues: tuple[Cue, ...] = ()
    """evidence with its measurements, against which the answer can be checked."""
    words: tuple[str, ...] = ()
    """open words for the emotion, likeliest first, whatever the label set."""
    rationale: tuple[Sentence, ...] = ()
    """the reasons, sentence by sentence."""
    channels: tuple[Channel, ...] = ()
    """per channel, its own answer and how much it counted."""
    uncertainty: Uncertainty | None = None
    """how far to trust the answer; None in a report that was made without it."""
    utterances: tuple[Utterance, ...] = ()
    """the words that were used, from a file, the clip itself or speech recognition."""
    context: str = ""
    """what the user said about the situation."""
    reasoning: dict[str, str] = field(default_factory=dict)
    """step -> text, if reasoning was requested; all of it is generated."""
    verification: Verification | None = None
    """whether these steps are true to the answer and the measurements; left out of JSON without reasoning."""
    examples: tuple[LabelledExample, ...] = ()
    """labelled clips most like this one, the nearest first, if an index was given; left out of JSON without one."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """how the report was made: model, weights, prompt, settings, warnings."""
