"""The model's answers about a clip: shares of every glimpse for any choice of channels, and their mean.

Channels. Where the channels are calibrated (`calibration`), each is scored alone and their shares are combined; where
they are not, the model gets all of them at once and weighs them itself.

Pooling. A person's distribution is the mean over their crops, by picture alone. The clip's is
`person_weight` times the mean over people of their crops' shares with all channels, each person weighted by the frames
that show them, plus the rest times the whole clip's, asked about at once. Where nobody is seen, the mean over what is
heard and said decides, or the whole clip where a report is not about people alone. The timeline is the mean of the
glimpses in each window.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from emotion_qwen.analysis.glimpses import Glimpse, glimpses, sound_between, whole
from emotion_qwen.analysis.reader import ViewAnswer, ViewReader
from emotion_qwen.engine.calibration import Calibration, combine
from emotion_qwen.engine.engine import Engine, View
from emotion_qwen.prepare import PreparedClip
from emotion_qwen.records import CHANNELS, EVOKED, PEOPLE, WHOLE
from emotion_qwen.taxonomy import LabelSet

PICTURE = ("picture",)


@dataclass(eq=False)
class ClipReading:
    """The answers of one model about one clip; every view is scored once.

    Args:
        reader: asks the model; readings that share one share its batches.
        prepared: the clip with its people.
        labels: K labels.
        language: of the question.
        context: what the user says of the situation.
        about: of `records.ABOUT`; the reader must ask the question that belongs to it (`label_reader`).
    """

    reader: ViewReader
    prepared: PreparedClip
    labels: LabelSet
    language: str
    context: str = ""
    about: str = PEOPLE
    _answers: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict)
    _whole: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict)
    covered: dict[int, list[View]] = field(default_factory=dict)
    """Glimpse -> the views of its face with parts of it covered, once `cues` made them."""
    gates: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    """(G, 2) fusion weights of the glimpses' pictures, once these were asked about; zeros without a picture."""

    def __post_init__(self) -> None:
        if self.about == EVOKED:  # the picture as it is: nobody captured, nobody cut out
            self.prepared = replace(self.prepared, shown=self.prepared.clip, people=())
        # Channels are fitted on what people show; what a picture evokes is another question.
        self.calibration = Calibration() if self.about == EVOKED else self.engine.calibration
        self.glimpses: list[Glimpse] = glimpses(self.prepared, self.context, hears=self.hears, about=self.about)
        self.weight = self.engine.processor.settings.person_weight if self.people else 0.0

    @property
    def engine(self) -> Engine:
        """The model."""
        return self.reader.engine

    @property
    def hears(self) -> bool:
        """Whether the model can hear."""
        return self.engine.processor.hearing is not None

    @property
    def people(self) -> list[int]:
        """Numbers of the people that are seen."""
        return [person.track.person for person in self.prepared.people]

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that the clip has, in the order of `CHANNELS`."""
        channels = frozenset().union(*(glimpse.channels for glimpse in self.glimpses))
        return tuple(name for name in CHANNELS if name in channels)

    @property
    def is_empty(self) -> bool:
        """Whether the clip has nothing that could be looked at, heard or read; silence is nothing."""
        clip = self.prepared.clip
        silent = not self.hears or sound_between(clip, -np.inf, np.inf) is None
        return not self.channels and not len(clip.frames) and silent

    @property
    def calibrated(self) -> bool:
        """Whether the shares may be called probabilities: every channel was fitted, for this label set among others."""
        fitted = self.labels.name in self.calibration.label_sets and self.calibration.weighs(self.channels)
        return self.about == PEOPLE and fitted

    def views(self) -> list[View]:
        """Return what a report asks about, of the glimpses and of the clip.

        All channels together (for features and sentences), each alone, and where the model weighs the channels itself
        all but each.
        """
        alone = [(name,) for name in self.channels]
        without = [tuple(other for other in self.channels if other != name) for name in self.channels]
        keys = dict.fromkeys([self.channels, *([PICTURE] if self.people else []), *alone])
        if not self.calibration.weighs(self.channels):
            keys |= dict.fromkeys(without)
        return [view for key in keys for view in self._views(key)]

    def needed_views(self, channels: Collection[str]) -> list[View]:
        """Return what the shares by the given channels need: views of the glimpses, and of the clip where it counts."""
        key = self._key(channels)
        if len(key) > 1 and self.calibration.weighs(key):
            return [view for channel in key for view in self.needed_views((channel,))]
        return self._views(key)

    def _views(self, channels: Collection[str]) -> list[View]:
        views = [glimpse.view(channels, self.language) for glimpse in self.glimpses]
        views += [self.whole.view(channels, self.language)] if self._shows_whole(channels) else []
        return [view for view in views if view is not None]

    def shares(self, channels: Collection[str]) -> np.ndarray:
        """Return (G, K) shares of the glimpses by the given channels; NaN where a glimpse has none of them."""
        key = self._key(channels)
        if key not in self._answers:
            self._answers[key], gates = self._read(self.glimpses, key)
            if "picture" in key or not len(self.gates):  # a gate depends on its visual alone
                self.gates = gates
        return self._answers[key]

    def in_order(self, at_once: int = 8) -> Iterator[tuple[list[int], np.ndarray]]:
        """Ask about the glimpses with all channels in order of time, a few at once.

        What the reader has answered is not asked again; a caller may stop at any time.

        Yields:
            The rows of the glimpses that were asked about, and their (rows, K) shares.
        """
        order = sorted(range(len(self.glimpses)), key=lambda row: self.glimpses[row].time)
        for begin in range(0, len(order), at_once):
            rows = order[begin : begin + at_once]
            yield rows, self._read([self.glimpses[row] for row in rows], self.channels)[0]

    def clip(self, channels: Collection[str]) -> np.ndarray:
        """Return the (K,) distribution of the clip by the given channels; NaN where it has none of them."""
        key = self._key(channels)
        if self._shows_whole(key) and key not in self._whole:
            self._whole[key] = self._read([self.whole], key)[0][0]
        return self.pool(self.shares(key), self._whole.get(key))

    def pool(self, values: np.ndarray, whole: np.ndarray | None) -> np.ndarray:
        """Pool what holds of the glimpses into what holds of the clip.

        Args:
            values: (G, K); a row of NaN where a glimpse says nothing.
            whole: (K,) of the clip looked at as a whole; None where it was not.

        Returns:
            (K,); NaN where nothing says anything.
        """
        filled = ~np.isnan(values[:, 0])
        rest = np.full(values.shape[1], np.nan)
        if self.weight < 1:
            rest = whole if whole is not None else values[filled].mean(0) if filled.any() else rest
        people, counts = [], []
        for person in self.prepared.people:
            rows = filled & self.rows_of(person.track.person)
            if rows.any():
                people.append(values[rows].mean(0))
                counts.append(float(len(person.track.frames)))
        if not people:
            return rest
        together = np.average(np.stack(people), axis=0, weights=counts)
        # Where the rest was not asked about, the people decide alone.
        return together if np.isnan(rest).any() else self.weight * together + (1 - self.weight) * rest

    def person(self, number: int) -> np.ndarray:
        """Return the (K,) distribution of one person, by picture alone."""
        return self.shares(PICTURE)[self.rows_of(number)].mean(0)

    def frame(self, number: int, time: float) -> np.ndarray:
        """Return the (K,) distribution of one person in the frame of a time in which they were cut out."""
        return self.shares(PICTURE)[self.rows_at(number, time)].mean(0)

    def rows_at(self, number: int, time: float) -> list[int]:
        """Return the numbers of the glimpses that show a person at a time."""
        return [row for row, glimpse in enumerate(self.glimpses) if (glimpse.person, glimpse.time) == (number, time)]

    def rows_of(self, number: int) -> np.ndarray:
        """Return (G,) which glimpses show a person."""
        return np.array([glimpse.person == number for glimpse in self.glimpses], dtype=bool)

    def _shows_whole(self, channels: Collection[str]) -> bool:
        """Whether the clip as a whole is asked about: where its frames count and are among the channels."""
        counts = self.weight < 1 and (bool(self.people) or self.about != PEOPLE)
        return counts and "picture" in channels and bool(len(self.prepared.shown.frames))

    @cached_property
    def whole(self) -> Glimpse:
        """The whole clip with all its channels."""
        return whole(self.prepared, self.context, hears=self.hears, about=self.about)

    def _key(self, channels: Collection[str]) -> tuple[str, ...]:
        """Return those of the channels that the clip has, in the order of `CHANNELS`."""
        return tuple(name for name in self.channels if name in channels)

    def _read(self, glimpses: Sequence[Glimpse], channels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return (G, K) shares and (G, 2) gate weights of glimpses by the given channels, combined by the one rule."""
        if len(channels) < 2 or not self.calibration.weighs(channels):
            return self.ask([glimpse.view(channels, self.language) for glimpse in glimpses], channels)
        shares, gates = zip(*(self._read(glimpses, (channel,)) for channel in channels), strict=True)
        return combine(shares), np.max(gates, axis=0)  # only the picture has a gate; the others' are zeros

    def ask(self, views: Sequence[View | None], channels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Score views.

        Args:
            views: V views; None where there is nothing to ask about.
            channels: that the views hold; the temperature of a single channel is applied.

        Returns:
            (V, K) shares and (V, 2) gate weights; NaN and zeros where there is no view.
        """
        answers = self.answers(views)
        temperature = self.calibration.temperature(channels[0]) if len(channels) == 1 else None
        shares, gates = np.full((len(views), len(self.labels.labels)), np.nan), np.zeros((len(views), 2))
        for row, answer in enumerate(answers):
            if answer is not None:
                shares[row] = (answer.scores.double() / (temperature or 1.0)).softmax(-1).numpy()
                gates[row] = answer.gate.double().numpy()
        return shares, gates

    def everything(self) -> tuple[list[ViewAnswer | None], ViewAnswer | None]:
        """Return the answers to the glimpses and to the whole clip, by all channels; None where these do not count."""
        each = self.answers([glimpse.view(self.channels, self.language) for glimpse in self.glimpses])
        if each:
            view = self.whole.view(self.channels, self.language) if self._shows_whole(self.channels) else None
        else:  # nothing to answer about: the clip as it is
            everything = whole(self.prepared, self.context, hears=self.hears, about=WHOLE)
            view = everything.view(CHANNELS, self.language)
        return each, self.answers([view])[0]

    def answers(self, views: Sequence[View | None]) -> list[ViewAnswer | None]:
        """Return the reader's answers to views; None where there is no view."""
        answers = iter(self.reader.answers([view for view in views if view is not None]))
        return [None if view is None else next(answers) for view in views]
