"""The model's answers about a clip: shares of every glimpse for any choice of channels, and their mean.

Channels: if the channels are calibrated (`calibration`), each is scored alone and their shares are combined; otherwise
the model gets all of them at once and weighs them itself.

Pooling: a person's distribution is the mean over their crops, by picture only. The distribution of the clip is
`person_weight` times the mean over people of their crops' shares with all channels, each person weighted by the frames
that show them, plus the remaining weight times the distribution of the whole clip, scored at once. If nobody is seen,
it is the mean over sound and words, or the whole clip unless the report is about people only. The timeline is the mean
of the glimpses in each window.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from emotion_qwen.analysis.glimpses import Glimpse, glimpses, sound_between, whole
from emotion_qwen.analysis.reader import ViewAnswer, ViewReader
from emotion_qwen.analysis.request import Request
from emotion_qwen.engine.calibration import Calibration, combine
from emotion_qwen.engine.engine import Engine, View
from emotion_qwen.errors import MediaError
from emotion_qwen.prepare import PreparedClip
from emotion_qwen.records import CHANNELS, EVOKED, PEOPLE, WHOLE
from emotion_qwen.taxonomy import LabelSet

if TYPE_CHECKING:
    from emotion_qwen.analysis.examples import Neighbours

PICTURE = ("picture",)


@dataclass(eq=False)
class ClipReading:
    """The answers of one model about one clip; every view is scored once.

    Args:
        reader: queries the model; readings with the same reader share batches.
        prepared: the clip with its people.
        request: the request; the reader must ask the corresponding question (`label_reader`).
    """

    reader: ViewReader
    prepared: PreparedClip
    request: Request
    _answers: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict)
    _whole: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict)
    covered: dict[int, list[View]] = field(default_factory=dict)
    """Glimpse -> the views of its face with regions covered, created by `cues`."""
    gates: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    """(G, 2) fusion weights of the glimpses' pictures, once they are scored; zeros without a picture."""
    neighbours: Neighbours | None = None
    """The labelled clips most similar to this one, once they are looked up; None without an index."""

    def __post_init__(self) -> None:
        if self.about == EVOKED:  # the original picture, without capture and crops
            self.prepared = replace(self.prepared, shown=self.prepared.clip, people=())
        # Channels are calibrated for what people show, not for what a picture evokes.
        self.calibration = Calibration() if self.about == EVOKED else self.engine.calibration
        self.glimpses: list[Glimpse] = glimpses(self.prepared, self.context, hears=self.hears, about=self.about)
        self.weight = self.engine.processor.settings.person_weight if self.people else 0.0

    @cached_property
    def labels(self) -> LabelSet:
        """The K labels."""
        return self.request.label_set

    @property
    def language(self) -> str:
        """Of the question."""
        return self.request.language

    @property
    def context(self) -> str:
        """What the user knows about the situation."""
        return self.request.context

    @property
    def about(self) -> str:
        """One of `records.ABOUT`."""
        return self.request.about

    @property
    def engine(self) -> Engine:
        """The model."""
        return self.reader.engine

    @property
    def hears(self) -> bool:
        """Whether the model has audio input."""
        return self.engine.processor.hearing is not None

    @property
    def people(self) -> list[int]:
        """Numbers of the people who are seen."""
        return [person.track.person for person in self.prepared.people]

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of the clip, in the order of `CHANNELS`."""
        channels = frozenset().union(*(glimpse.channels for glimpse in self.glimpses))
        return tuple(name for name in CHANNELS if name in channels)

    @property
    def is_empty(self) -> bool:
        """Whether the clip has no picture, no words, and no sound other than silence."""
        clip = self.prepared.clip
        silent = not self.hears or sound_between(clip, -np.inf, np.inf) is None
        return not self.channels and not len(clip.frames) and silent

    def nothing(self) -> MediaError:
        """Return the error about a clip that is empty."""
        source = self.prepared.clip.source
        return MediaError(f"{source!r} has no picture, no words, and no sound that is not silence; give one that has")

    @property
    def calibrated(self) -> bool:
        """Whether the shares are calibrated probabilities: every channel was fitted, also for this label set."""
        fitted = self.labels.name in self.calibration.label_sets and self.calibration.weighs(self.channels)
        changed = self.neighbours is not None and self.neighbours.weight > 0
        return self.about == PEOPLE and fitted and not changed

    def views(self) -> list[View]:
        """Return the views that a report needs, of the glimpses and of the clip.

        These have all channels together (for features and sentences), each channel alone and, if the model weighs the
        channels itself, all channels but one.
        """
        alone = [(name,) for name in self.channels]
        without = [tuple(other for other in self.channels if other != name) for name in self.channels]
        keys = dict.fromkeys([self.channels, *([PICTURE] if self.people else []), *alone])
        if not self.calibration.weighs(self.channels):
            keys |= dict.fromkeys(without)
        return [view for key in keys for view in self._views(key)]

    def needed_views(self, channels: Collection[str]) -> list[View]:
        """Return the views that `shares` needs for the given channels, including those of the clip if used."""
        key = self._key(channels)
        if len(key) > 1 and self.calibration.weighs(key):
            return [view for channel in key for view in self.needed_views((channel,))]
        return self._views(key)

    def _views(self, channels: Collection[str]) -> list[View]:
        views = [glimpse.view(channels, self.language) for glimpse in self.glimpses]
        views += [self.whole.view(channels, self.language)] if self._shows_whole(channels) else []
        return [view for view in views if view is not None]

    def shares(self, channels: Collection[str]) -> np.ndarray:
        """Return (G, K) shares of the glimpses by the given channels; NaN for glimpses that have none of them."""
        key = self._key(channels)
        if key not in self._answers:
            self._answers[key], gates = self._read(self.glimpses, key)
            if "picture" in key or not len(self.gates):  # a gate depends only on its visual
                self.gates = gates
        return self._answers[key]

    def in_order(self, at_once: int = 8) -> Iterator[tuple[list[int], np.ndarray]]:
        """Score the glimpses with all channels in order of time, a few at once.

        Cached answers of the reader are reused; a caller may stop at any time.

        Yields:
            The rows of the scored glimpses, and their (rows, K) shares.
        """
        order = sorted(range(len(self.glimpses)), key=lambda row: self.glimpses[row].time)
        for begin in range(0, len(order), at_once):
            rows = order[begin : begin + at_once]
            yield rows, self._read([self.glimpses[row] for row in rows], self.channels)[0]

    def clip(self, channels: Collection[str]) -> np.ndarray:
        """Return the (K,) distribution of the clip by the given channels; NaN if it has none of them."""
        key = self._key(channels)
        if self._shows_whole(key) and key not in self._whole:
            self._whole[key] = self._read([self.whole], key)[0][0]
        return self.pool(self.shares(key), self._whole.get(key))

    def answer(self, channels: Collection[str]) -> np.ndarray:
        """Return the (K,) distribution of the clip by the given channels and the labels of its neighbours, if any."""
        shares = self.clip(channels)
        return shares if self.neighbours is None else combine((shares, self.neighbours.opinion))

    def pool(self, values: np.ndarray, whole: np.ndarray | None) -> np.ndarray:
        """Pool values of the glimpses into a value of the clip.

        Args:
            values: (G, K); rows of NaN are ignored.
            whole: (K,) value of the clip as a whole; None if it was not scored.

        Returns:
            (K,); NaN if there is no value at all.
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
        # If the whole clip was not scored, the people alone decide.
        return together if np.isnan(rest).any() else self.weight * together + (1 - self.weight) * rest

    def person(self, number: int) -> np.ndarray:
        """Return the (K,) distribution of one person, by picture only."""
        return self.shares(PICTURE)[self.rows_of(number)].mean(0)

    def frame(self, number: int, time: float) -> np.ndarray:
        """Return the (K,) distribution of one person at the time of one of their crops."""
        return self.shares(PICTURE)[self.rows_at(number, time)].mean(0)

    def rows_at(self, number: int, time: float) -> list[int]:
        """Return the indices of the glimpses that show a person at a time."""
        return [row for row, glimpse in enumerate(self.glimpses) if (glimpse.person, glimpse.time) == (number, time)]

    def rows_of(self, number: int) -> np.ndarray:
        """Return a (G,) bool mask of the glimpses that show a person."""
        return np.array([glimpse.person == number for glimpse in self.glimpses], dtype=bool)

    def _shows_whole(self, channels: Collection[str]) -> bool:
        """Whether the clip as a whole is scored: its frames have a weight, and the picture is among the channels."""
        counts = self.weight < 1 and (bool(self.people) or self.about != PEOPLE)
        return counts and "picture" in channels and bool(len(self.prepared.shown.frames))

    @cached_property
    def whole(self) -> Glimpse:
        """The whole clip with all its channels."""
        return whole(self.prepared, self.context, hears=self.hears, about=self.about)

    def _key(self, channels: Collection[str]) -> tuple[str, ...]:
        """Return the given channels that the clip has, in the order of `CHANNELS`."""
        return tuple(name for name in self.channels if name in channels)

    def _read(self, glimpses: Sequence[Glimpse], channels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return (G, K) shares and (G, 2) gate weights of glimpses by the given channels, combined as above."""
        if len(channels) < 2 or not self.calibration.weighs(channels):
            return self.ask([glimpse.view(channels, self.language) for glimpse in glimpses], channels)
        shares, gates = zip(*(self._read(glimpses, (channel,)) for channel in channels), strict=True)
        return combine(shares), np.max(gates, axis=0)  # only the picture has a gate; the rows of others are zeros

    def ask(self, views: Sequence[View | None], channels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Score views.

        Args:
            views: V views, or None for no view.
            channels: of the views; the biases and the temperature of a single channel are applied.

        Returns:
            (V, K) shares and (V, 2) gate weights; NaN and zeros where there is no view.
        """
        answers = self.answers(views)
        temperature, biases = None, torch.zeros(len(self.labels.labels), dtype=torch.double)
        if len(channels) == 1:
            temperature = self.calibration.temperature(channels[0])
            biases = torch.from_numpy(self.calibration.biases(channels[0], self.labels.labels))
        shares, gates = np.full((len(views), len(self.labels.labels)), np.nan), np.zeros((len(views), 2))
        for row, answer in enumerate(answers):
            if answer is not None:
                shares[row] = ((answer.scores.double() + biases) / (temperature or 1.0)).softmax(-1).numpy()
                gates[row] = answer.gate.double().numpy()
        return shares, gates

    def everything(self) -> tuple[list[ViewAnswer | None], ViewAnswer | None]:
        """Return the answers about the glimpses and the whole clip with all channels; None for unused ones."""
        each = self.answers([glimpse.view(self.channels, self.language) for glimpse in self.glimpses])
        if each:
            view = self.whole.view(self.channels, self.language) if self._shows_whole(self.channels) else None
        else:  # nobody is present: use the whole clip
            everything = whole(self.prepared, self.context, hears=self.hears, about=WHOLE)
            view = everything.view(CHANNELS, self.language)
        return each, self.answers([view])[0]

    def answers(self, views: Sequence[View | None]) -> list[ViewAnswer | None]:
        """Return the reader's answers to views; None for None."""
        answers = iter(self.reader.answers([view for view in views if view is not None]))
        return [None if view is None else next(answers) for view in views]
