"""A user's request for the analysis of a clip, apart from the clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from emotion_qwen.analysis.moments import LENGTH
from emotion_qwen.analysis.reasoning import Reasoning
from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.media.clip import Sources
from emotion_qwen.questions import LANGUAGES
from emotion_qwen.records import ABOUT, EVOKED, PEOPLE
from emotion_qwen.taxonomy import LabelSet, chosen_labels

if TYPE_CHECKING:
    from emotion_qwen.analysis.examples import ExampleIndex

ABSTAIN_BELOW = 0.4
"""Default confidence below which a report abstains."""


class AnalysisOptions(TypedDict, total=False):
    """Options of `analyze` besides labels and language; the defaults are those of `Request`."""

    start: float | None
    """Seconds from which a clip is read; None starts at its beginning."""
    end: float | None
    """Seconds until which it is read."""
    fps: float | None
    """Frames per second to analyze; None takes the model's own number of frames."""
    window: float
    """Length of a window of the timeline in seconds; windows start every quarter of it."""
    sources: Sources | None
    """Sound and words to read, from `EmotionQwen.sources`; None uses the clip's own if the model was trained for it."""
    context: str
    """What is known about the situation."""
    abstain_below: float
    """Confidence below which a report abstains, 0 to 1."""
    reasoning: Reasoning | str | None
    """Makes the model reason in a given form of `analysis.forms`, such as "steps"; None requests no reasoning."""
    about: str
    """"people" asks what people show; "whole" also answers from whole frames and all sound where nobody is found;
    "evoked" asks what the picture as a whole evokes in viewers."""
    examples: ExampleIndex | None
    """Labelled clips with which the clip is compared, from `ExampleIndex.read`; None compares it with none."""


@dataclass(frozen=True)
class Request:
    """Labels, language and options for one or many clips.

    Attributes:
        labels: a label set or its name in `taxonomy.LABEL_SETS`, or labels of the user; see `taxonomy.chosen_labels`.
        language: "en" or "zh", for questions and sentences.
        start: as in `AnalysisOptions`, and so are all others.

    Raises:
        SettingsError: unknown label set, language, form of reasoning or `about`; a rate or a window that is not above
            0; or `reasoning` together with "evoked".
    """

    labels: str | Sequence[str] | LabelSet = "dfew7"
    language: str = "en"
    start: float | None = None
    end: float | None = None
    fps: float | None = None
    window: float = LENGTH
    sources: Sources | None = None
    context: str = ""
    abstain_below: float = ABSTAIN_BELOW
    reasoning: Reasoning | str | None = None
    about: str = PEOPLE
    examples: ExampleIndex | None = None

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise SettingsError(unknown_choice("language", self.language, LANGUAGES))
        if self.about not in ABOUT:
            raise SettingsError(unknown_choice("about", self.about, ABOUT))
        for name, value in (("fps", self.fps), ("window", self.window)):
            if value is not None and not value > 0:
                raise SettingsError(f"{name} {value:g}; expected a number above 0, or leave it out")
        if self.thinking is not None and self.about == EVOKED:
            raise SettingsError("reasoning is about a person, --evoked about the picture; leave one of them out")

    @property
    def label_set(self) -> LabelSet:
        """The labels."""
        return self.labels if isinstance(self.labels, LabelSet) else chosen_labels(self.labels)

    @property
    def thinking(self) -> Reasoning | None:
        """The form of reasoning."""
        return Reasoning(self.reasoning) if isinstance(self.reasoning, str) else self.reasoning


PLAIN = Request()
"""All defaults."""
